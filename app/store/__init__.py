"""Conversations on disk: a journal of events in SQLite."""
