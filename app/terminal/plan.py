"""``selenograph plan``: the engine's planner, asked in a process of its own."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def plan(arguments: argparse.Namespace) -> int:
    """Exit code 0 when the model runs on the machine, 1 when it does not fit."""
    command = [sys.executable, "-m", "engine.placement"]
    if arguments.model:
        command.append(_located(arguments.model))
    if arguments.hardware:
        command.append(f"--hardware={_located(arguments.hardware)}")
    if arguments.context:
        command.append(f"--context={arguments.context}")
    if arguments.experts:
        command.append(f"--experts={arguments.experts}")
    command += [f"--{name}" for name in ("table", "probe", "json") if getattr(arguments, name)]
    # A process of its own: the app does not load the engine's libraries.
    return subprocess.run(command, cwd=_ROOT, check=False).returncode


def _located(name: str) -> str:
    """A path as seen from another folder; a plain name stays one if nothing here is called so."""
    path = Path(name).expanduser()
    return str(path.absolute()) if path.exists() or path != Path(path.name) else name
