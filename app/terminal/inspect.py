"""``selenograph inspect``: the report of a checkpoint folder, made by the engine's own reader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def inspect(folder: Path, *, as_json: bool, deep: bool = False) -> int:
    """Exit code 0 when the folder can be loaded, 1 when it cannot."""
    command = [sys.executable, "-m", "engine.checkpoint", str(folder.expanduser().absolute())]
    if as_json:
        command.append("--json")
    if deep:
        command.append("--deep")
    # A process of its own: the app does not load the engine's libraries.
    return subprocess.run(command, cwd=_ROOT, check=False).returncode
