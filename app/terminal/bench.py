"""``selenograph bench``: the engine's own benchmarks, and the agent's."""

from __future__ import annotations

from collections.abc import Sequence

from app.terminal.engine_module import run_module


def bench(words: Sequence[str]) -> int:
    """Hand the command line on; the exit code is the benchmark's."""
    if words[:1] == ["agent"]:
        from app.measuring.agent import main

        return main(words[1:])
    return run_module("engine.bench", words)
