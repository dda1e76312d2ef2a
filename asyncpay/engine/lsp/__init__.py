"""The LSP's engine. Start reading in `engine`."""
