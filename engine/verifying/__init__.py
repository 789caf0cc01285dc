"""Whether this machine computes a checkpoint's experts rightly, shown on the checkpoint itself."""
