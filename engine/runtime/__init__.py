"""The engine thread: schedule, run, emit."""
