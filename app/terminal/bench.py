"""``selenograph bench``: the engine's own benchmarks, in a process of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def bench(words: Sequence[str]) -> int:
    """Hand the command line on; the exit code is the benchmark's."""
    return engine_module("engine.bench", words)


def engine_module(module: str, words: Sequence[str]) -> int:
    """Run a module of the engine where the user is, and leave Ctrl-C to it.

    A process of its own: the app does not load the engine's libraries.
    """
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-m", module, *words], env={**os.environ, "PYTHONPATH": path}
    )
    # It shares our terminal, so it hears Ctrl-C itself and still writes what it has measured.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
