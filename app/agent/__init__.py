"""The agent: model call, tool calls, results, until an answer."""
