"""What a model needs, what a machine has, and what comes of putting one on the other."""
