"""Random checkpoints of real shapes in the published layout, for trying and measuring."""
