"""The conversation: rows, blocks, cards and the composer."""
