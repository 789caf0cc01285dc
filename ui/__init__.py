"""The window: draws what the core publishes and turns clicks into commands."""
