"""The kernels' clock: their own time counts; what they call in Python, or is around, does not."""

from __future__ import annotations

import threading
import time

import pytest

from engine.bench.overhead import KernelClock


def kernel(inner: float) -> None:
    time.sleep(0.05)
    around(inner)
    time.sleep(0.05)


def around(seconds: float) -> None:
    time.sleep(seconds)


def test_only_the_kernels_own_time_counts() -> None:
    clock = KernelClock("measured", frozenset({kernel.__code__}))

    def work() -> None:
        around(0.2)
        kernel(0.2)
        kernel(0.0)

    threading.setprofile(clock)
    try:
        threads = [threading.Thread(target=work, name=n) for n in ("measured", "another")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        threading.setprofile(None)
    assert clock.seconds == pytest.approx(0.2, abs=0.08)
