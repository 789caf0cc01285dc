"""``selenograph verify``: whether this machine computes a checkpoint rightly."""

from __future__ import annotations

from argparse import Namespace

from app.terminal.engine_module import run_module


def verify(arguments: Namespace) -> int:
    """Exit code 0 when everything is right, 1 when it is not."""
    words = [str(arguments.folder), *(["--json"] if arguments.json else [])]
    if arguments.seconds is not None:
        words.append(f"--seconds={arguments.seconds}")
    return run_module("engine.verifying", words)
