"""One of the engine's own commands, run where the user is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def run_module(module: str, words: Sequence[str]) -> int:
    """Run ``python -m module words``; its exit code. Ctrl-C is left to it.

    A process of its own: the app does not load the engine's libraries.
    """
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-m", module, *words], env={**os.environ, "PYTHONPATH": path}
    )
    # It shares our terminal, so it hears Ctrl-C itself and ends in its own way.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
