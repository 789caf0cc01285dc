"""What the engine is doing."""
