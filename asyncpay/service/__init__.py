"""The running LSP: thin shells around the engine. `lsp` is the loop, and says where to read on."""
