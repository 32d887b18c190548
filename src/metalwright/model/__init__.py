"""The nouns: every value that crosses a room, frozen, with no I/O, no clock and no randomness."""
