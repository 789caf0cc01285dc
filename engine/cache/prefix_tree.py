"""Which pages hold which tokens, so that no prefix is computed twice.

A node is a page; the path to it spells the tokens that its latents depend on. Full pages are shared
by the sequences that run through them; of a page that agrees in part a copy is made, so nobody
writes where another reads. What no sequence holds goes when pages run short, the longest unused
first and ends before beginnings; an archive may keep it and give it back.
"""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections.abc import Iterator, Sequence

from engine.cache.archive import Latents, PageArchive, common
from engine.cache.latent_pool import PAGE_TOKENS, LatentPool, PagedCache, page_count
from engine.cache.restore import Restore
from engine.cache.snapshot import StoredPage, chain_key
from engine.errors import ResourceError

_GONE = -1
KEPT_EVERY = 16
"""Full pages of a running sequence after which the archive is told, for its end may never come."""


class Node:
    """One page: ``tokens`` after those of ``parent``; 64, or fewer and then without children."""

    __slots__ = ("children", "key", "locks", "page", "parent", "serial", "tokens", "used")

    def __init__(
        self, tokens: tuple[int, ...], page: int, parent: Node | None, serial: int, key: bytes
    ) -> None:
        self.tokens = tokens
        self.key = key
        """Of the tokens and all before them; see :func:`engine.cache.snapshot.chain_key`."""
        self.page = page
        self.parent = parent
        self.children: dict[tuple[int, ...], Node] = {}
        self.locks = 0
        """Open sequences whose path leads through here."""
        self.used = 0
        self.serial = serial

    @property
    def stored(self) -> StoredPage:
        """What the archive calls it."""
        assert self.parent is not None
        return StoredPage(self.parent.key, self.key, self.tokens)


class PrefixTree:
    """All pages of a pool by their tokens. Engine thread only, but for ``tokens``."""

    def __init__(self, pool: LatentPool, archive: PageArchive | None = None) -> None:
        self.pool = pool
        self.archive = archive
        self.tokens = 0
        """Tokens cached. A number of its own, for other threads read it while nodes change."""
        self._root = Node((), _GONE, None, 0, archive.root if archive is not None else b"")
        self._paths: dict[PagedCache, list[Node]] = {}
        """Of each open sequence: the nodes of its shared pages."""
        self._restores: dict[PagedCache, Restore] = {}
        self._unlocked = 0
        self._leaves: list[tuple[int, int, Node]] = []
        """A heap of what may go, by time of use. Entries may be out of date."""
        self._serials = itertools.count(1)
        self._clock = itertools.count(1)
        self._guard = archive.guard if archive is not None else threading.Lock()

    @property
    def capacity(self) -> int:
        """Tokens that one sequence can have, if it is alone."""
        return self.pool.pages * PAGE_TOKENS

    @property
    def room(self) -> int:
        """Pages that are free, or would be for whoever needs them."""
        return self.pool.free + self._unlocked

    # -- sequences

    def open(self, tokens: Sequence[int], limit: int) -> PagedCache:
        """A cache with the longest prefix of `tokens` in the pool, for at most `limit` of them.

        At least the last token is left to compute: its logits are what the caller is after.
        Raises ResourceError ``cache_full`` for a prompt that no cache of this size could hold.
        """
        if len(tokens) > self.capacity:
            raise prompt_too_large(len(tokens), self.capacity)
        cache = PagedCache(self.pool, limit, self)
        self._paths[cache] = []
        self._follow(cache, tokens)
        return cache

    def rematch(self, cache: PagedCache, tokens: Sequence[int]) -> None:
        """Adopt what others have computed of `tokens` meanwhile, but for the last."""
        self._follow(cache, tokens)

    def copy_part(self, cache: PagedCache, other: PagedCache, end: int) -> None:
        """Take over what another sequence, of the same first `end` tokens, has of the next page."""
        begin = cache.shared * PAGE_TOKENS
        end = min(end, other.length, begin + PAGE_TOKENS)
        if end > cache.length and self._has_place(cache):
            cache.reserve(end)
            self.pool.copy(other.pages[cache.shared], cache.pages[cache.shared], end - begin)
            cache.length = end

    def restore(self, cache: PagedCache, tokens: Sequence[int]) -> None:
        """Have read what the archive has of `tokens` beyond what the cache has; see `collect`."""
        if self.archive is not None:
            begin, end = cache.shared * PAGE_TOKENS, len(tokens) - 1
            parent = self._end(cache).key
            self._restores[cache] = Restore(self.archive, parent, tokens, begin, end)

    def restoring(self, cache: PagedCache) -> bool:
        """Whether there may be more to collect."""
        return cache in self._restores

    def collect(
        self, cache: PagedCache, tokens: Sequence[int], seconds: float | None = None
    ) -> None:
        """Take over what was read of the same tokens since the last time, and have more read.

        `seconds`: how long others can wait for this, who go on meanwhile; None: there are none.
        """
        restore, aside = self._restores[cache], seconds is not None
        assert self.archive is not None
        ahead = max(self.archive.ahead // len(self._restores), 1)
        until = time.monotonic() + (math.inf if seconds is None else seconds)
        restore.ask(ahead, aside)
        while (found := restore.take()) is not None:
            if not self._welcome(cache, *found):
                restore.cancel()
            restore.ask(ahead, aside)
            if time.monotonic() >= until:
                break
        if restore.over and self._complete(cache, tokens, restore, aside):
            del self._restores[cache]

    def wait(self, seconds: float) -> None:
        """Until there is something to collect, but not longer."""
        if self.archive is not None and self._restores:
            self.archive.wait(seconds)

    def advance(self, cache: PagedCache, tokens: Sequence[int]) -> None:
        """Let others share the full pages computed so far. `tokens` begin with those computed."""
        before = cache.shared
        for i in range(cache.shared, cache.length // PAGE_TOKENS):
            key = tuple(tokens[i * PAGE_TOKENS : (i + 1) * PAGE_TOKENS])
            parent = self._end(cache)
            node = parent.children.get(key)
            if node is None:
                node = self._insert(parent, key, cache.pages[i])
            self._adopt(cache, node)
        if self.archive is not None and cache.shared // KEPT_EVERY > before // KEPT_EVERY:
            self.archive.keep(list(self._paths[cache]))

    def close(self, cache: PagedCache, tokens: Sequence[int]) -> None:
        """Keep what was computed, the last partial page too, and let go of it."""
        if (restore := self._restores.pop(cache, None)) is not None:
            restore.cancel()
        self.advance(cache, tokens)
        rest = cache.length - cache.shared * PAGE_TOKENS
        path = self._paths.pop(cache)
        keep = list(path)
        if rest:
            page = cache.pages[cache.shared]
            key = tuple(tokens[cache.length - rest : cache.length])
            parent = path[-1] if path else self._root
            known = next((n for n in parent.children.values() if n.tokens[:rest] == key), None)
            if known is None:
                del cache.pages[cache.shared]
                known = self._insert(parent, key, page)
            self._touch(known)
            keep.append(known)
        for page in cache.pages[cache.shared :]:
            self.give(page)
        now = next(self._clock)
        for node in reversed(path):
            node.used = now
            self._unlock(node)
        if self.archive is not None and keep:
            self.archive.keep(keep)
        cache.pages = []
        cache.length = cache.shared = 0

    def clear(self) -> None:
        """Forget everything that no sequence holds; what is in the archive stays there."""
        for node in [n for n in self._nodes() if not n.locks][::-1]:  # ends before beginnings
            self.give(self._remove(node))

    def shut(self, seconds: float) -> None:
        """Before the model goes: let the archive finish, for at most so long; forget the rest."""
        if self.archive is not None:
            self.archive.close(seconds)
        self.clear()

    # -- the source of sequences' pages

    def take(self) -> int:
        """A page for the caller alone. Raises ResourceError ``cache_full``."""
        return self._evict() if not self.pool.free and self._unlocked else self.pool.take()

    def give(self, page: int) -> None:
        """Take a page back."""
        self.pool.give(page)

    # -- inside

    def _end(self, cache: PagedCache) -> Node:
        path = self._paths[cache]
        return path[-1] if path else self._root

    def _follow(self, cache: PagedCache, tokens: Sequence[int]) -> None:
        usable = len(tokens) - 1
        while True:
            begin = cache.shared * PAGE_TOKENS
            key = tuple(tokens[begin : min(begin + PAGE_TOKENS, usable)])
            node = self._end(cache).children.get(key) if len(key) == PAGE_TOKENS else None
            if node is None:
                break
            self._adopt(cache, node)
        self._copy_part(cache, key)

    def _adopt(self, cache: PagedCache, node: Node) -> None:
        """Go on through a full node; a page of the cache's own in that place is given back."""
        if cache.pages[cache.shared : cache.shared + 1] != [node.page]:
            self._own(cache, node.page)
        self._lock(node)
        node.used = next(self._clock)
        self._paths[cache].append(node)
        cache.shared += 1
        cache.length = max(cache.length, cache.shared * PAGE_TOKENS)

    def _copy_part(self, cache: PagedCache, key: tuple[int, ...]) -> None:
        """Begin the next page with as many of `key`'s tokens as any page there begins with."""
        begin = cache.shared * PAGE_TOKENS
        best, most = None, cache.length - begin
        for node in self._end(cache).children.values():
            if (shared := common(node.tokens, key)) > most:
                best, most = node, shared
        if best is None:
            return
        self._lock(best)  # or making room might take it away
        if self._has_place(cache):
            cache.reserve(begin + most)
            self.pool.copy(best.page, cache.pages[cache.shared], most)
            cache.length = begin + most
        self._unlock(best)
        self._touch(best)

    def _has_place(self, cache: PagedCache) -> bool:
        """Whether there is a page of the cache's own behind the shared ones, or room for one."""
        return len(cache.pages) > cache.shared or self.room > 0

    def _welcome(self, cache: PagedCache, page: StoredPage, latents: Latents) -> bool:
        """Go on through a full page that was read. False if there is no room for it."""
        end = self._end(cache)
        if end.key != page.parent:
            return True  # others were faster
        node = end.children.get(page.tokens)
        if node is None:
            if not self.room:
                return False
            place = self.take()
            self.pool.fill(place, PAGE_TOKENS, latents)
            node = self._insert(end, page.tokens, place)
        self._adopt(cache, node)
        return True

    def _complete(
        self, cache: PagedCache, tokens: Sequence[int], restore: Restore, aside: bool
    ) -> bool:
        """After the full pages: what is in the tree by now, or else a part from the archive. False
        while that is looked for."""
        self._follow(cache, tokens)
        begin = cache.shared * PAGE_TOKENS
        key = tuple(tokens[begin : min(begin + PAGE_TOKENS, len(tokens) - 1)])
        known = cache.length - begin
        if known >= len(key):
            return True
        part = restore.part(self._end(cache).key, key, known, aside)
        if part is None or not part.done():
            return part is None
        near = part.result()
        fits = near is not None and near.page.parent == self._end(cache).key
        if near is not None and fits and near.common > known and self._has_place(cache):
            cache.reserve(begin + near.common)
            self.pool.fill(cache.pages[cache.shared], len(near.page.tokens), near.latents)
            cache.length = begin + near.common
        return True

    def _own(self, cache: PagedCache, page: int) -> None:
        """Put a page behind the shared ones, in place of what may be there."""
        if len(cache.pages) > cache.shared:
            self.give(cache.pages[cache.shared])
            cache.pages[cache.shared] = page
        else:
            cache.pages.append(page)

    def _insert(self, parent: Node, key: tuple[int, ...], page: int) -> Node:
        """A new node; what it makes superfluous goes."""
        for node in [n for n in parent.children.values() if n.tokens == key[: len(n.tokens)]]:
            self.give(self._remove(node))
        name = chain_key(parent.key, key) if self.archive is not None else b""
        node = Node(key, page, parent, next(self._serials), name)
        parent.children[key] = node
        self._unlocked += 1
        self.tokens += len(key)
        return node

    def _remove(self, node: Node) -> int:
        """Take an unlocked leaf out: its page."""
        assert node.parent is not None and not node.locks and not node.children
        del node.parent.children[node.tokens]
        self._unlocked -= 1
        self.tokens -= len(node.tokens)
        with self._guard:
            page, node.page = node.page, _GONE
        return page

    def _lock(self, node: Node) -> None:
        self._unlocked -= not node.locks
        node.locks += 1

    def _unlock(self, node: Node) -> None:
        node.locks -= 1
        if not node.locks:
            self._unlocked += 1
            self._offer(node)

    def _touch(self, node: Node) -> None:
        node.used = next(self._clock)
        self._offer(node)

    def _offer(self, node: Node) -> None:
        if not node.locks and not node.children and node.parent is not None:
            heapq.heappush(self._leaves, (node.used, node.serial, node))
            if len(self._leaves) > 4 * self.pool.pages + PAGE_TOKENS:
                self._leaves = list({e[2]: e for e in self._leaves if _valid(e)}.values())
                heapq.heapify(self._leaves)

    def _evict(self) -> int:
        """The page of the leaf that was not used for the longest."""
        while not _valid(entry := heapq.heappop(self._leaves)):
            pass
        node = entry[2]
        if self.archive is not None:
            self.archive.leaving(node)
        page = self._remove(node)
        assert node.parent is not None
        self._offer(node.parent)
        return page

    def _nodes(self) -> Iterator[Node]:
        stack = list(self._root.children.values())
        while stack:
            yield (node := stack.pop())
            stack += node.children.values()

    def check_integrity(self) -> None:
        """Assert everything that must hold between two calls. Slow: for tests."""
        nodes = list(self._nodes())
        for node in nodes:
            assert node.parent is not None and node.parent.children[node.tokens] is node
            assert len(node.tokens) == PAGE_TOKENS or (node.tokens and not node.children)
            assert node.locks == sum(node in path for path in self._paths.values())
            brothers = [n.tokens for n in node.parent.children.values() if n is not node]
            assert all(common(node.tokens, b) < len(node.tokens) for b in brothers)
        offered = {entry[2] for entry in self._leaves if _valid(entry)}
        assert offered == {n for n in nodes if not n.locks and not n.children}
        assert self._unlocked == sum(not n.locks for n in nodes)
        assert self.tokens == sum(len(n.tokens) for n in nodes)
        held = [node.page for node in nodes]
        for cache, path in self._paths.items():
            assert len(path) == cache.shared
            assert [n.page for n in path] == cache.pages[: cache.shared]
            assert page_count(cache.length) <= len(cache.pages)
            held += cache.pages[cache.shared :]
        free = self.pool.free_pages()
        assert len(free) == self.pool.free
        assert sorted([*held, *free]) == list(range(self.pool.pages)), "a page is lost or had twice"


def prompt_too_large(tokens: int, capacity: int) -> ResourceError:
    """Of a prompt that does not fit even alone."""
    return ResourceError(
        "cache_full",
        f"the prompt has {tokens:,} tokens, the whole cache holds {capacity:,}",
        "load the model with a larger cache, or shorten the prompt",
    )


def _valid(entry: tuple[int, int, Node]) -> bool:
    used, _, node = entry
    return node.page != _GONE and not node.locks and not node.children and node.used == used
