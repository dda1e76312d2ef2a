"""The Async Lightning payments protocol: the component that an LSP or a wallet runs next to its node."""
