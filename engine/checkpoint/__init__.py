"""Checkpoint folders: what is in them, and views of their bytes."""
