"""How fast the processor reads memory and multiplies small integers, by number of threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from engine.native import _kernels

_TURNS = 3


def memory_rate(threads: int, mebibytes: int, seconds: float) -> float:
    """GB/s of streaming read: the best of a few turns, against bursts of others' work."""
    if hasattr(_kernels, "read_bandwidth"):
        return max(
            float(_kernels.read_bandwidth(threads, mebibytes, seconds / _TURNS))
            for _ in range(_TURNS)
        )
    words = np.ones(mebibytes << 17, np.int64)
    parts = np.array_split(words, threads)
    with ThreadPoolExecutor(threads) as pool:
        return words.nbytes / 1e9 / _quickest(lambda: list(pool.map(np.sum, parts)), seconds)


def dot_rate(isa: str, threads: int, seconds: float) -> float:
    """INT8 GOP/s, two a multiply-add, with the kernels' instruction set ``isa``; likewise."""
    if hasattr(_kernels, "dot_peak"):
        return max(float(_kernels.dot_peak(isa, threads, seconds / _TURNS)) for _ in range(_TURNS))
    # numpy multiplies floats on all cores; INT8 takes half the time and a thread its share.
    side = 512
    square = np.ones((side, side), np.float32)
    everything = 2 * 2 * side**3 / 1e9 / _quickest(lambda: square @ square, seconds)
    return everything * min(1.0, threads / (os.cpu_count() or 1))


def _quickest(work: Callable[[], object], seconds: float) -> float:
    """The least seconds that it takes, of as often as it can be done in ``seconds``."""
    work()
    began = now = time.perf_counter()
    least = float("inf")
    while least == float("inf") or now - began < seconds:
        before, _ = now, work()
        now = time.perf_counter()
        least = min(least, now - before)
    return least
