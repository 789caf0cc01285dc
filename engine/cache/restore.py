"""Pages on their way from an archive to one sequence, read and checked while others compute."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future

from engine.cache.archive import Latents, Near, PageArchive
from engine.cache.latent_pool import PAGE_TOKENS
from engine.cache.snapshot import StoredPage, chain_key


class Restore:
    """Full pages, taken in the order of their tokens, then one that agrees in part. Engine thread
    only.

    The first page that is not there, or not as it was written, is the end of the full ones.
    """

    def __init__(
        self, archive: PageArchive, parent: bytes, tokens: Sequence[int], begin: int, end: int
    ) -> None:
        """Of `tokens` those from `begin`, where the page after `parent` begins, to `end`."""
        self._archive = archive
        self._parent = parent
        self._tokens = tokens
        self._at = begin
        self._end = end
        self._asked: deque[tuple[StoredPage, Future[Latents | None]]] = deque()
        self._ended = False
        self._near: Future[Near | None] | None = None

    @property
    def over(self) -> bool:
        """Whether there are no more full pages to take."""
        return self._ended and not self._asked

    def ask(self, most: int, aside: bool) -> None:
        """Have up to `most` full pages read ahead, ``aside`` from those who compute."""
        while not self._ended and len(self._asked) < most and not self._archive.scanning:
            page = self._next()
            if page is None or not self._archive.has(page.key):
                self._ended = True
                return
            self._asked.append((page, self._archive.read(page, aside)))
            self._parent = page.key
            self._at += PAGE_TOKENS

    def take(self) -> tuple[StoredPage, Latents] | None:
        """The next full page, if it has been read."""
        if not self._asked or not self._asked[0][1].done():
            return None
        page, read = self._asked.popleft()
        latents = read.result()
        if latents is None:
            self.cancel()
            return None
        return page, latents

    def part(
        self, parent: bytes, tokens: tuple[int, ...], most: int, aside: bool
    ) -> Future[Near | None] | None:
        """The page after `parent` that begins with most of `tokens`, and with more than `most`; it
        is looked for once. None if there is none for sure."""
        if self._near is None and self._archive.may_have(parent, tokens, most):
            self._near = self._archive.nearest(parent, tokens, most, aside)
        return self._near

    def cancel(self) -> None:
        """Nothing of what is still to come is wanted."""
        for _, read in self._asked:
            read.cancel()
        self._asked.clear()
        self._ended = True

    def _next(self) -> StoredPage | None:
        if self._at + PAGE_TOKENS > self._end:
            return None
        part = tuple(self._tokens[self._at : self._at + PAGE_TOKENS])
        return StoredPage(self._parent, chain_key(self._parent, part), part)
