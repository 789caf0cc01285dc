"""Caches of the last few finished sequences, so that a growing prompt is not computed again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from engine.cache.latent_pool import PagedCache


class RecentCaches:
    """Least recently used go first. Engine thread only, but for ``tokens``; bounded in number and
    bytes."""

    def __init__(
        self, new_cache: Callable[[], PagedCache], count: int = 8, max_bytes: int = 1 << 30
    ) -> None:
        self._new_cache = new_cache
        self._count = count
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[int, ...], PagedCache] = OrderedDict()
        self.tokens = 0
        """Tokens held. A number of its own, for other threads read it while entries change."""

    def put(self, tokens: list[int], cache: PagedCache) -> None:
        """Keep a finished sequence's cache; `tokens` are those it has computed."""
        assert len(tokens) == cache.length
        if not tokens or _bytes(cache) > self._max_bytes:
            return
        self._entries.pop(key := tuple(tokens), None)
        self._entries[key] = cache
        while len(self._entries) > self._count or self._bytes() > self._max_bytes:
            self._entries.popitem(last=False)
        self._count_tokens()

    def take(self, tokens: list[int]) -> PagedCache | None:
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
        return self._copy(self._entries[best], length)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._count_tokens()

    def _count_tokens(self) -> None:
        self.tokens = sum(len(key) for key in self._entries)

    def _bytes(self) -> int:
        return sum(_bytes(cache) for cache in self._entries.values())

    def _copy(self, cache: PagedCache, tokens: int) -> PagedCache:
        other = self._new_cache()
        other.reserve(tokens)
        for source, to in zip(cache.pages, other.pages, strict=False):
            other.pool.data[to] = cache.pool.data[source]
        other.length = tokens
        return other


def _bytes(cache: PagedCache) -> int:
    return len(cache.pages) * cache.pool.page_bytes


def _common_prefix(a: tuple[int, ...], b: list[int], limit: int) -> int:
    end = min(len(a), len(b), limit)
    if list(a[:end]) == b[:end]:
        return max(end, 0)
    return next(i for i in range(end) if a[i] != b[i])
