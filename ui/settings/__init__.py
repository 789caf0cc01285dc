"""What is remembered beside the conversations, for a person to change."""
