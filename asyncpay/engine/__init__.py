"""The decisions of the protocol as pure code: no I/O, no clock, no randomness. Events in, effects out."""
