"""What the hardware allows: the speed of memory and of INT8 dot products."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from engine.native import _kernels

MEBIBYTES = 1024
"""Far beyond any cache, small beside a workstation's memory."""


def streaming_read(threads: int, seconds: float, mebibytes: int = MEBIBYTES) -> Callable[[], float]:
    """A turn that returns bytes per second of reading memory from end to end."""
    measure = getattr(_kernels, "read_bandwidth", None)
    if measure is not None:
        return lambda: float(1e9 * measure(threads, mebibytes, seconds))
    memory = torch.ones(mebibytes << 17, dtype=torch.int64)

    def turn() -> float:
        torch.set_num_threads(threads)
        began, passes = time.perf_counter(), 0
        while time.perf_counter() - began < seconds or not passes:
            memory.sum()
            passes += 1
        return passes * memory.nbytes / (time.perf_counter() - began)

    return turn


def dot_products(isa: str, threads: int, seconds: float) -> Callable[[], float] | None:
    """A turn that returns INT8 operations per second, two a multiply-add, from registers."""
    measure = getattr(_kernels, "dot_peak", None)
    return measure and (lambda: float(1e9 * measure(isa, threads, seconds)))
