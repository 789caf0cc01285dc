"""What a model may write next, so that tool calls and structured answers are always well formed."""
