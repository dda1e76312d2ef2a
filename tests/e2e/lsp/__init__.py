"""One LSP's component on real nodes."""
