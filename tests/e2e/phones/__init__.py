"""A phone itself: its apps, its link and its pushes, each fault seen from the LSP."""
