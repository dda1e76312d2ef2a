"""What an LSP decides. `engine` is the way in, and says where to read on."""
