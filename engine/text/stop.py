"""Stop strings, found in text that arrives in pieces."""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """Passes text on until the first stop string, holding back only what may become one.

    Of several strings in the text, the one that begins first wins. After a match everything is
    swallowed, the stop string included.
    """

    __slots__ = ("_held", "_stops", "matched")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.matched: str | None = None

    def feed(self, text: str) -> str:
        """The part of what has come so far that can be shown now."""
        if self.matched is not None:
            return ""
        text = self._held + text
        found = [(text.find(stop), stop) for stop in self._stops if stop in text]
        keep = self._possible_start(text)
        if found:
            start, stop = min(found, key=lambda hit: hit[0])
            # An earlier, longer stop string may still be under way.
            if keep >= start:
                self.matched, self._held = stop, ""
                return text[:start]
        self._held = text[keep:]
        return text[:keep]

    def flush(self) -> str:
        """What was held back, when no more text comes."""
        if self.matched is None:
            text, self._held = self._held, ""
            found = [(text.find(stop), stop) for stop in self._stops if stop in text]
            if not found:
                return text
            start, self.matched = min(found, key=lambda hit: hit[0])
            return text[:start]
        return ""

    def _possible_start(self, text: str) -> int:
        """Where the first suffix begins that is a proper prefix of a stop string."""
        longest = max(map(len, self._stops), default=1) - 1
        for start in range(max(0, len(text) - longest), len(text)):
            tail = text[start:]
            if any(len(tail) < len(stop) and stop.startswith(tail) for stop in self._stops):
                return start
        return len(text)
