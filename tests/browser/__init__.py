"""Pages in a real browser: `make test-browser` installs what this takes, and runs it."""
