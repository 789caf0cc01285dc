"""Which way missing experts come: through the map, or directly into memory of our own.

Directly is quicker where the disk is fast, and the map where it is not (docs/tiers.md); so a few
experts are read both ways when a model is loaded.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from statistics import median
from typing import Literal, Protocol

import psutil

from engine.errors import ResourceError
from engine.placement.limits import memory_limit
from engine.tiers.resident import ResidentSet

Wish = Literal["auto", "map", "direct"]
_TURN = 16 << 20
"""Bytes to read in a turn, at least two experts."""
_LEAST = 4 << 20
"""Smaller turns say nothing."""
_TURNS = 3
_SECONDS = 0.4
"""After which no further pair of turns begins."""
_GAIN = 1.2
"""How much faster direct reading has to be: the system can take its memory back from the map."""
_SHARE = 0.75
"""Of the free memory, what may become memory that the system cannot take back."""


class Held(Protocol):
    """Keys whose experts are, or are about to be, in memory."""

    def begin(self, key: int) -> None:
        """From now on it may take memory."""

    def read(self, key: int) -> None:
        """Bring a key that has begun. Sleeps. Any thread. Raises CheckpointError."""

    def arrive(self, key: int) -> None:
        """It was read and is about to be used."""

    def drop(self, key: int) -> None:
        """Give its memory back. Nobody uses it."""

    def close(self) -> None:
        """Free everything."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The way that was taken, and why."""

    direct: bool
    why: str

    def __str__(self) -> str:
        return f"read {'directly' if self.direct else 'through the map'} ({self.why})"


def refuse(wish: Wish, why: str) -> Reading:
    """The map. Raises ResourceError if direct reading was asked for."""
    if wish == "direct":
        raise ResourceError(
            "unsupported", f"experts cannot be read directly: {why}", "leave the choice to us"
        )
    return Reading(False, why)


def fits(size: int) -> bool:
    """Whether so much memory can be ours for good."""
    limit, free = memory_limit(), psutil.virtual_memory().available
    return bool(size <= _SHARE * (min(free, limit.free) if limit else free))


def compare(mapped: ResidentSet, direct: Held, room: int, readers: Executor) -> Reading:
    """Read a few experts both ways; `room`: how many at once. Raises CheckpointError."""
    size = mapped.largest
    per_turn = min(max(2, -(-_TURN // size)), room)
    if per_turn * size < _LEAST or len(mapped) < 2 * per_turn:
        return Reading(False, "too little to measure")
    sample = _absent(mapped, 2 * _TURNS * per_turn)
    turns = len(sample) // (2 * per_turn)
    if not turns:
        return Reading(False, "the page cache keeps them")
    _time(direct, sample[:per_turn], readers)  # memory that was never used costs more
    mapped.pages.forget(r for key in sample for r in mapped.places(key))
    rates: dict[bool, list[float]] = {False: [], True: []}
    begin = time.perf_counter()
    for turn in range(turns):
        if rates[True] and time.perf_counter() - begin > _SECONDS:
            break
        for way in (False, True):
            at = (2 * turn + way) * per_turn
            keys = sample[at : at + per_turn]
            seconds = _time(direct if way else mapped, keys, readers)
            rates[way].append(sum(r.nbytes for k in keys for r in mapped.places(k)) / seconds)
    by_map, directly = (median(rates[way]) / 1e9 for way in (False, True))
    if directly >= _GAIN * by_map:
        return Reading(True, f"{directly:.1f} GB/s, the map {by_map:.1f}")
    return Reading(False, f"{by_map:.1f} GB/s, directly {directly:.1f}")


def _absent(mapped: ResidentSet, count: int) -> list[int]:
    """At most so many keys, here and there, of which hardly anything is in memory."""
    pages = mapped.pages
    keys = random.Random(0).sample(list(mapped), len(mapped))[: 4 * count]
    sample = [key for key in keys if not pages.cached(mapped.places(key))][:count]
    if len(sample) < count:
        # They would be given back anyway once they have to leave. What others use stays.
        pages.forget(r for key in keys for r in mapped.places(key))
        sample = [key for key in keys if not pages.cached(mapped.places(key))][:count]
    return sample


def _time(held: Held, keys: Iterable[int], readers: Executor) -> float:
    """Seconds to bring some, use none, and give them back."""
    keys = list(keys)
    begin = time.perf_counter()
    for key in keys:
        held.begin(key)
    try:
        list(readers.map(held.read, keys))
        for key in keys:
            held.arrive(key)
    finally:
        for key in keys:
            held.drop(key)
    return time.perf_counter() - begin
