"""Which experts stay when there is room for some only: pure bookkeeping over an access trace.

A policy holds at most ``capacity`` keys, and after `access` always the accessed one. ``busy`` keys
are being read by somebody and are never thrown out.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

NONE: frozenset[int] = frozenset()


class Policy(Protocol):
    """Decides what to keep."""

    capacity: int

    @property
    def room(self) -> int:
        """How many keys can be busy at once, whichever they are."""

    def __contains__(self, key: int) -> bool:
        """Whether it is held."""

    def __len__(self) -> int:
        """How many are held."""

    def access(self, key: int, busy: Collection[int] = NONE) -> int | None:
        """Use a key, taking it in if need be; what had to go, if anything."""

    def admit(self, key: int, busy: Collection[int] = NONE) -> int | None:
        """Take a key in before it is used, which does not count as a use; what had to go."""


PolicyMaker = Callable[[int], Policy]
"""From a capacity to a policy."""


class Lru:
    """Throws out what was not used for longest."""

    def __init__(self, capacity: int) -> None:
        assert capacity >= 1
        self.capacity = capacity
        self._held: OrderedDict[int, None] = OrderedDict()

    @property
    def room(self) -> int:
        return self.capacity

    def __contains__(self, key: int) -> bool:
        return key in self._held

    def __len__(self) -> int:
        return len(self._held)

    def access(self, key: int, busy: Collection[int] = NONE) -> int | None:
        if key in self._held:
            self._held.move_to_end(key)
            return None
        return self.admit(key, busy)

    def admit(self, key: int, busy: Collection[int] = NONE) -> int | None:
        if key in self._held:
            return None
        gone = None
        if len(self._held) >= self.capacity:
            gone = next(k for k in self._held if k not in busy)
            del self._held[gone]
        self._held[key] = None
        return gone


class DecayedLfu:
    """Throws out what was used least, where a use counts half after `half_life` accesses.

    By default twice the capacity: shorter it becomes LRU, which follows the text of the moment;
    longer it keeps what is popular in general. In between it is the best or near it on recorded
    and on made-up traces (docs/tiers.md).

    Instead of shrinking every count at each access, new uses weigh ever more: the order is the
    same. Counts of keys that were thrown out are kept, so that an old favourite returns as one.
    """

    def __init__(self, capacity: int, half_life: float | None = None) -> None:
        assert capacity >= 1
        self.capacity = capacity
        self._growth = 2.0 ** (1.0 / (half_life or 2 * capacity))
        self._weight = 1.0
        self._count: dict[int, float] = {}
        self._held: set[int] = set()
        self._heap: list[tuple[float, int]] = []
        """(count when pushed, key); an entry whose count has grown since is stale."""

    @property
    def room(self) -> int:
        return self.capacity

    def __contains__(self, key: int) -> bool:
        return key in self._held

    def __len__(self) -> int:
        return len(self._held)

    def access(self, key: int, busy: Collection[int] = NONE) -> int | None:
        self._weight *= self._growth
        if self._weight > 1e100:
            self._rescale()
        self._count[key] = self._count.get(key, 0.0) + self._weight
        return self.admit(key, busy)

    def admit(self, key: int, busy: Collection[int] = NONE) -> int | None:
        if key in self._held:
            return None
        gone = self._throw_out(busy) if len(self._held) >= self.capacity else None
        self._held.add(key)
        heapq.heappush(self._heap, (self._count.get(key, 0.0), key))
        return gone

    def _throw_out(self, busy: Collection[int]) -> int:
        passed: list[tuple[float, int]] = []
        while True:
            pushed, key = heapq.heappop(self._heap)
            if key not in self._held:
                continue
            count = self._count.get(key, 0.0)
            if count != pushed:
                heapq.heappush(self._heap, (count, key))
            elif key in busy:
                passed.append((pushed, key))
            else:
                break
        for entry in passed:
            heapq.heappush(self._heap, entry)
        self._held.remove(key)
        return key

    def _rescale(self) -> None:
        self._count = {k: c / self._weight for k, c in self._count.items()}
        self._weight = 1.0
        self._heap = [(self._count.get(k, 0.0), k) for k in self._held]
        heapq.heapify(self._heap)


class Static:
    """Always keeps the first of `ranked` that fit beside a few places for the rest (LRU)."""

    def __init__(self, capacity: int, ranked: Iterable[int], spare: int = 1) -> None:
        assert capacity >= spare >= 1
        self.capacity = capacity
        pinned = [key for key, _ in zip(ranked, range(capacity - spare), strict=False)]
        self._pinned = frozenset(pinned)
        self._came: set[int] = set()
        """Pinned ones that have been read so far."""
        self._rest = Lru(capacity - len(self._pinned))

    @property
    def room(self) -> int:
        return self._rest.capacity

    def __contains__(self, key: int) -> bool:
        return key in self._came or key in self._rest

    def __len__(self) -> int:
        return len(self._came) + len(self._rest)

    def access(self, key: int, busy: Collection[int] = NONE) -> int | None:
        if key in self._pinned:
            self._came.add(key)
            return None
        return self._rest.access(key, busy)

    def admit(self, key: int, busy: Collection[int] = NONE) -> int | None:
        if key in self._pinned:
            self._came.add(key)
            return None
        return self._rest.admit(key, busy)
