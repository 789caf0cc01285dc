"""Measuring by turns: what is compared alternates, so that both meet the same disturbances."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LEAST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Speed:
    """The speeds of one thing over the turns it had, in work per second."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def best(self) -> float:
        return max(self.samples)


def alternate(
    turns: Sequence[Callable[[], float]], seconds: float, least: int = LEAST_ROUNDS
) -> list[Speed]:
    """Run A B … A B … until `seconds` are over and `least` rounds are done.

    Each turn returns its speed. The first call of each warms it up and is not counted.
    """
    for turn in turns:
        turn()
    samples: list[list[float]] = [[] for _ in turns]
    until = time.perf_counter() + seconds
    while len(samples[0]) < least or time.perf_counter() < until:
        for kept, turn in zip(samples, turns, strict=True):
            kept.append(turn())
    return [Speed(tuple(kept)) for kept in samples]


def repeat(work: Callable[[], object], seconds: float) -> float:
    """How often per second `work` can be done: calls until `seconds` are over, at least one."""
    began = time.perf_counter()
    calls = 0
    while True:
        work()
        calls += 1
        spent = time.perf_counter() - began
        if spent >= seconds:
            return calls / spent
