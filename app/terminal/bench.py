"""``selenograph bench``: the engine's own benchmarks."""

from __future__ import annotations

from collections.abc import Sequence

from app.terminal.engine_module import run_module


def bench(words: Sequence[str]) -> int:
    """Hand the command line on; the exit code is the benchmark's."""
    return run_module("engine.bench", words)
