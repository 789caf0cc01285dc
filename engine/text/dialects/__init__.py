"""One table a model family: the markers by which its output is read."""
