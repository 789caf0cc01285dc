"""Model endpoints of the settings: what they are, how they are tried, which one serves a run."""
