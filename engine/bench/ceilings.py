"""What the hardware allows: the speed of memory, of INT8 dot products and of float32."""

from __future__ import annotations

from collections.abc import Callable

from engine.native import _kernels


def streaming_read(threads: int, seconds: float, mebibytes: int) -> Callable[[], float]:
    """A turn that returns bytes per second of reading memory from end to end."""
    return lambda: 1e9 * _kernels.read_bandwidth(threads, mebibytes, seconds)


def dot_products(isa: str, threads: int, seconds: float) -> Callable[[], float]:
    """A turn that returns INT8 operations per second, two a multiply-add, from registers."""
    return lambda: 1e9 * _kernels.dot_peak(isa, threads, seconds)


def multiply_adds(isa: str, threads: int, seconds: float) -> Callable[[], float]:
    """A turn that returns float32 operations per second, two a multiply-add, from registers."""
    return lambda: 1e9 * _kernels.fma_peak(isa, threads, seconds)
