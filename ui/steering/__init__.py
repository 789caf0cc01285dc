"""Holding a run and changing it: what a debugger does to a program."""
