"""``selenograph plan``: the engine's planner, asked in a process of its own."""

from __future__ import annotations

import argparse

from app.terminal.engine_module import run_module


def plan(arguments: argparse.Namespace) -> int:
    """Exit code 0 when the model runs on the machine, 1 when it does not fit."""
    words = [arguments.model] if arguments.model else []
    for name in ("hardware", "context", "experts", "dense"):
        value = getattr(arguments, name)
        if value is not None:
            words.append(f"--{name}={value}")
    words += [f"--{name}" for name in ("table", "probe", "json") if getattr(arguments, name)]
    return run_module("engine.placement", words)
