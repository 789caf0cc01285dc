"""Which experts' pages are in memory, to the page.

The kernel maps more than was asked for: a touch of one page brings its whole folio, up to 2 MB,
and with it parts of the neighbours in the file. So after every read the neighbours that are not
to be in memory are unmapped again.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace

from torch import Tensor

from engine.tiers.pages import FilePages, Range

FOLIO = 2 << 20
"""The largest folio of a file: what a touch can map around itself."""


class ResidentSet:
    """Keys whose pages are, or are about to be, in memory. Any thread once all are added."""

    def __init__(self) -> None:
        self.pages = FilePages()
        self._places: dict[int, tuple[Range, ...]] = {}
        self._order: list[tuple[Range, int]] = []
        """All ranges with their keys by address; made when first needed."""
        self._begins: list[int] = []
        self._here: set[int] = set()
        self._lock = threading.Lock()

    def add(self, key: int, tensors: Iterable[Tensor]) -> None:
        """Make a key's tensors known. Those that are no view of a file are left alone."""
        self._places[key] = self.pages.ranges(tensors)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    @property
    def largest(self) -> int:
        """The most memory that any key takes."""
        return max((sum(r.nbytes for r in p) for p in self._places.values()), default=0)

    def places(self, key: int) -> tuple[Range, ...]:
        """Where a key's tensors are mapped."""
        return self._places[key]

    def begin(self, key: int) -> None:
        """From now on its pages may stay."""
        with self._lock:
            self._here.add(key)

    def read(self, key: int) -> None:
        """Read and map a key that has begun. Sleeps. Raises CheckpointError."""
        places = self._places[key]
        self.pages.read_ahead(places)
        self.pages.read(places)
        with self._lock:
            for r in places:
                self._unmap_strangers(r.begin - FOLIO, r.end + FOLIO)

    def arrive(self, key: int) -> None:
        """Nothing is left to do once it is read."""

    def drop(self, key: int) -> None:
        """Give a key's memory back."""
        places = self._places[key]
        with self._lock:
            self._here.discard(key)
            for r in places:
                self._unmap_strangers(r.begin, r.end)
        self.pages.forget(places)

    def close(self) -> None:
        """Close the files."""
        self.pages.close()

    def _unmap_strangers(self, begin: int, end: int) -> None:
        """Unmap what lies there and belongs to keys that are not to be in memory."""
        if not self._order:
            placed = ((r, key) for key, places in self._places.items() for r in places)
            self._order = sorted(placed, key=lambda item: item[0].begin)
            self._begins = [r.begin for r, _ in self._order]
        at = max(bisect.bisect_right(self._begins, begin) - 1, 0)
        for n in range(at, bisect.bisect_left(self._begins, end)):
            r, key = self._order[n]
            if key in self._here:
                continue
            low, high = max(r.begin, begin), min(r.end, end)
            # Neighbours share the page in which one ends and the other begins.
            if n and self._order[n - 1][1] in self._here:
                low = max(low, self._order[n - 1][0].end)
            if n + 1 < len(self._order) and self._order[n + 1][1] in self._here:
                high = min(high, self._order[n + 1][0].begin)
            if low < high:
                self.pages.unmap(replace(r, begin=low, end=high))
