"""How much of a token's time is spent in the kernels, and how much around them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType

from engine.experts.native import NativeExperts
from engine.model.network import NativeNetwork

KERNELS: frozenset[CodeType] = frozenset(
    f.__code__
    for f in (
        NativeExperts.submit,
        NativeExperts.wait,
        NativeExperts.linear,
        NativeNetwork.step,
    )
)
"""The functions whose work is a native call."""


class KernelClock:
    """Sums the time spent in the kernels' functions themselves, without what they call in Python.

    A profile function for one thread, the one named as given: some tenths of a microsecond for
    each call in Python, which is a thousandth of a token's time.
    """

    def __init__(self, thread: str, kernels: frozenset[CodeType] = KERNELS) -> None:
        self.seconds = 0.0
        self._thread, self._kernels = thread, kernels
        self._stack: list[bool] = []
        self._since = 0.0

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        """Python tells of a call or a return."""
        if event not in ("call", "return") or threading.current_thread().name != self._thread:
            return
        now = time.perf_counter()
        if self._stack and self._stack[-1]:
            self.seconds += now - self._since
        self._since = now
        if event == "call":
            self._stack.append(frame.f_code in self._kernels)
        elif self._stack:
            self._stack.pop()


@contextmanager
def watched(thread: str) -> Iterator[KernelClock]:
    """A clock for a thread that is started inside."""
    clock = KernelClock(thread)
    threading.setprofile(clock)
    try:
        yield clock
    finally:
        threading.setprofile(None)
