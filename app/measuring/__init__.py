"""The agent measured by itself: a scripted model, toy tools, a real journal."""
