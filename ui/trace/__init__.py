"""The trace inspector: what the model got and gave, step by step."""
