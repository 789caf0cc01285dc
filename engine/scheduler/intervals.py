"""How soon a full queue will have room."""

from __future__ import annotations

import math

_LONGEST = 60


class Intervals:
    """Seconds between the ends of requests, smoothed. Engine thread, but for `expected`."""

    def __init__(self) -> None:
        self._last = -math.inf
        self._mean = 0.0

    def note(self, began: float, now: float) -> None:
        """A request that began to run then ended now."""
        seconds = now - max(self._last, began)
        self._last = now
        self._mean = seconds if self._mean == 0 else 0.8 * self._mean + 0.2 * seconds

    def expected(self) -> int:
        """Whole seconds, at least one and at most a minute."""
        return min(max(math.ceil(self._mean), 1), _LONGEST)
