"""Guards: what must not be said, sent or read, and what is done about it."""
