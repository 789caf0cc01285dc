"""Searching and reading: the offline index, search services, and pages of the web."""
