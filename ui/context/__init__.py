"""The context map: what fills the model's window."""
