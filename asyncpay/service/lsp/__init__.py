"""The running LSP: thin shells around the engine. `session` says where to read on."""
