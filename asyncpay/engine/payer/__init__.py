"""The payer's engine: makes payments that its LSP holds until the payee is online. Start reading in `engine`."""
