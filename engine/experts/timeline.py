"""Who did what, when: spans by which a schedule is proven and shown."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of work; times in seconds of ``time.perf_counter``."""

    who: str
    what: str
    begin: float
    end: float

    def overlaps(self, other: Span) -> bool:
        """Whether there was a moment at which both ran."""
        return max(self.begin, other.begin) < min(self.end, other.end)


class Timeline:
    """The last `limit` spans. Any thread; `limit` 0 keeps none and costs next to nothing."""

    def __init__(self, limit: int = 0) -> None:
        self._spans: deque[Span] = deque(maxlen=limit)
        self._lock = threading.Lock()

    @property
    def on(self) -> bool:
        """Whether spans are kept."""
        return self._spans.maxlen != 0

    @contextmanager
    def span(self, who: str, what: str) -> Iterator[None]:
        """Record what happens inside, also when it raises."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.add(Span(who, what, begin, time.perf_counter()))

    def add(self, span: Span) -> None:
        """Record one that is over."""
        if self.on:
            with self._lock:
                self._spans.append(span)

    def spans(self) -> list[Span]:
        """All kept, in the order in which they ended."""
        with self._lock:
            return list(self._spans)
