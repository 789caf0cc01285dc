"""Caches of the last few finished sequences, so that a growing prompt is not computed again."""

from __future__ import annotations

from collections import OrderedDict

from engine.cache.latent import LatentCache


class RecentCaches:
    """Least recently used go first. Engine thread only, but for ``tokens``; bounded in number and
    bytes."""

    def __init__(self, count: int = 8, max_bytes: int = 1 << 30) -> None:
        self._count = count
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[int, ...], LatentCache] = OrderedDict()
        self.tokens = 0
        """Tokens held. A number of its own, for other threads read it while entries change."""

    def put(self, tokens: list[int], cache: LatentCache) -> None:
        """Keep a finished sequence's cache; `tokens` are those it has computed."""
        assert len(tokens) == cache.length
        if not tokens or cache.nbytes > self._max_bytes:
            return
        self._entries.pop(key := tuple(tokens), None)
        self._entries[key] = cache
        while len(self._entries) > self._count or self._bytes() > self._max_bytes:
            self._entries.popitem(last=False)
        self._count_tokens()

    def take(self, tokens: list[int]) -> LatentCache | None:
        """A cache of the longest common prefix, for the caller to own; None if there is none.

        At least the last token is left to compute: its logits are what the caller is after. An
        entry that is wholly a prefix moves out; of any other a copy is made, so that branches of
        one conversation do not destroy each other.
        """
        best, length = None, 0
        for key in self._entries:
            common = _common_prefix(key, tokens, len(tokens) - 1)
            if common > length:
                best, length = key, common
        if best is None:
            return None
        if length == len(best):
            cache = self._entries.pop(best)
            self._count_tokens()
            return cache
        self._entries.move_to_end(best)
        return self._entries[best].copy_prefix(length)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._count_tokens()

    def _count_tokens(self) -> None:
        self.tokens = sum(len(key) for key in self._entries)

    def _bytes(self) -> int:
        return sum(cache.nbytes for cache in self._entries.values())


def _common_prefix(a: tuple[int, ...], b: list[int], limit: int) -> int:
    end = min(len(a), len(b), limit)
    if list(a[:end]) == b[:end]:
        return max(end, 0)
    return next(i for i in range(end) if a[i] != b[i])
