"""What a machine allows at most for a model: the figures that speeds are shown beside.

Ceilings, not predictions: :func:`engine.placement.planner.plan` says what to expect.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from engine.native import _kernels
from engine.placement.footprint import Footprint
from engine.protocol import WeightForm

_MOST_MIB, _LEAST_MIB = 256, 32
"""To read from; less where a model's weights are less."""
_FREE_SHARE = 0.1
"""Of the free memory, what measuring it may touch."""
_READ_SECONDS, _DOT_SECONDS = 0.2, 0.1
_TIMES, _APART_S = 3, 10.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Tokens per second; 0: not known."""

    decode: float = 0.0
    prefill: float = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model asks of the processor, as far as its speed depends on that."""

    threads: int
    mebibytes: int = _MOST_MIB
    """Of weights, if they are few enough to stay in the processor's caches."""

    @classmethod
    def of(cls, threads: int, footprint: Footprint, dense_form: WeightForm) -> Reading:
        weights = footprint.dense_bytes(dense_form) + footprint.experts_bytes
        return cls(threads, min(_MOST_MIB, 1 + (weights >> 20)))


@dataclass(frozen=True, slots=True)
class Rates:
    """Of the processor: bytes read and INT8 operations a second."""

    read: float
    int8: float

    @classmethod
    def measured(cls, reading: Reading) -> Rates:
        """Takes about half a second of all threads."""
        threads = reading.threads
        free = psutil.virtual_memory().available >> 20
        mebibytes = int(min(reading.mebibytes, max(_LEAST_MIB, free * _FREE_SHARE)))
        isa = _kernels.available_isas()[-1]
        return cls(
            read=1e9 * _kernels.read_bandwidth(threads, mebibytes, _READ_SECONDS),
            int8=1e9 * _kernels.dot_peak(isa, threads, _DOT_SECONDS),
        )


class Gauge:
    """The best of a few measurements, some time apart: what else runs can only make one lower.

    ``due`` may be asked on any thread, the rest belongs to one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: dict[Reading, list[Rates]] = {}
        self._last = -_APART_S

    def due(self, reading: Reading) -> bool:
        """Whether it is worth while to measure."""
        times = len(self._found.get(reading, ()))
        return times == 0 or (times < _TIMES and self._clock() - self._last >= _APART_S)

    def measure(self, reading: Reading) -> None:
        """See :meth:`Rates.measured`."""
        self._found.setdefault(reading, []).append(Rates.measured(reading))
        self._last = self._clock()

    def best(self, reading: Reading) -> Rates | None:
        """What the machine can do, as far as it was seen."""
        found = self._found.get(reading)
        return Rates(max(r.read for r in found), max(r.int8 for r in found)) if found else None


def bounds(footprint: Footprint, dense_form: WeightForm, rates: Rates) -> Bounds:
    """Decode: every weight that a token needs is read once from where it lies. Prefill: every
    multiply-add of a token is an INT8 dot product, two operations each, at the peak.

    ``dense_form``: how what is not a routed expert is held.
    """
    return Bounds(
        decode=rates.read / footprint.decode_bytes(dense_form),
        # The head is needed for a prompt's last token only.
        prefill=rates.int8
        / (footprint.dense_flops - footprint.head.flops + footprint.routed_flops),
    )
