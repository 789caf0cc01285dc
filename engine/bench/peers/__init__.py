"""Other engines on the same shape: each in a process and an environment of its own."""
