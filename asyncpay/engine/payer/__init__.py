"""The payer's engine: pays a payment that its LSP holds until the payee is there. `engine` says how to read it."""
