"""Who computes routed experts."""
