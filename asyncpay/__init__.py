"""The Async Lightning payments protocol: what an LSP or a wallet installs beside its node."""
