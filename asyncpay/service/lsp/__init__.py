"""The running LSP: thin shells around the engine. Start reading in `session`."""
