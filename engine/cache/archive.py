"""Pages beyond the pool: in the machine's memory for a pool on a device, and on disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple

import numpy as np
import torch
from numpy.typing import NDArray

from engine.cache.host_store import HostStore
from engine.cache.latent_pool import LatentPool
from engine.cache.snapshot import SnapshotFolder, StoredPage
from engine.cache.writer import HeldPage, SnapshotWriter

Latents = NDArray[np.uint8]
"""Bytes of a page, as :meth:`engine.cache.latent_pool.LatentPool.fill` takes them."""
Answer = TypeVar("Answer")
Asked = TypeVarTuple("Asked")
_READERS = min(4, os.cpu_count() or 1)
_AHEAD_BYTES = 64 << 20
_AHEAD_PAGES = 256


@dataclass(frozen=True, slots=True)
class ArchiveUse:
    """What an archive has, and why its files are not written, if so."""

    host_pages: int = 0
    disk_pages: int = 0
    disk_bytes: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Near:
    """A page that begins with ``common`` of the tokens that were asked for."""

    page: StoredPage
    common: int
    latents: Latents


class PageArchive:
    """What a tree asks before it computes, and tells before it forgets.

    Engine thread only, but for ``use``. Pages are read, and checked, by threads of its own into
    memory of their own: nothing of them is in the pool before it is known to be right. ``guard`` is
    held while a page of the pool changes hands, for the writer copies pages while the engine runs.
    """

    def __init__(
        self,
        pool: LatentPool,
        root: bytes,
        host: HostStore | None = None,
        disk: SnapshotFolder | None = None,
    ) -> None:
        self.root = root
        self.guard = threading.Lock()
        self._pool = pool
        self._host = host
        self._disk = disk
        self._writer = SnapshotWriter(pool, disk, self.guard) if disk is not None else None
        self._readers = ThreadPoolExecutor(_READERS, "snapshot-reader")
        self._aside = ThreadPoolExecutor(1, "snapshot-reader-aside")
        """One thread, so that whoever decodes has the other cores."""
        self._read_some = threading.Event()

    @property
    def use(self) -> ArchiveUse:
        """At this moment. Any thread."""
        host, disk, writer = self._host, self._disk, self._writer
        return ArchiveUse(
            host.pages if host is not None else 0,
            disk.pages if disk is not None else 0,
            disk.bytes if disk is not None else 0,
            writer.error if writer is not None else None,
        )

    @property
    def scanning(self) -> bool:
        """Whether it is not known yet what is on disk, but worth waiting for."""
        return self._writer is not None and self._writer.scanning

    @property
    def ahead(self) -> int:
        """Pages that may be read before somebody takes them."""
        return max(2 * _READERS, min(_AHEAD_BYTES // self._pool.page_bytes, _AHEAD_PAGES))

    def has(self, key: bytes) -> bool:
        """Whether a page may be there; what is damaged is noticed only when it is read."""
        if self._host is not None and self._host.has(key):
            return True
        return self._disk is not None and self._disk.has(key)

    def may_have(self, parent: bytes, tokens: tuple[int, ...], most: int) -> bool:
        """Whether there may be a page after another that begins with more than `most` of `tokens`.

        Reads nothing, so it may promise too much.
        """
        if self._disk is not None and self._disk.unread(parent):
            return True
        return any(common(page.tokens, tokens) > most for page in self._after(parent))

    def read(self, page: StoredPage, aside: bool) -> Future[Latents | None]:
        """A page's latents, or None if they are not there or not as they were. Takes turns with
        others; `aside`: without disturbing those who compute."""
        return self._ask(aside, self._read, page)

    def nearest(
        self, parent: bytes, tokens: tuple[int, ...], most: int, aside: bool
    ) -> Future[Near | None]:
        """Of the pages after another the one that begins with the most of `tokens`, if with more
        than `most` of them."""
        return self._ask(aside, self._nearest, parent, tokens, most)

    def wait(self, seconds: float) -> None:
        """Until something was read since the last time, but not longer."""
        self._read_some.wait(seconds)
        self._read_some.clear()

    def leaving(self, held: HeldPage) -> None:
        """A page is about to be used for something else."""
        if self._host is not None and not self._host.has(held.key):
            latents = torch.from_numpy(self._pool.dump(held.page, len(held.tokens)))
            self._host.put(held.stored, latents)
        if self._writer is not None:
            self._writer.leaving(held)

    def keep(self, path: Sequence[HeldPage]) -> None:
        """A sequence ended; `path` are its pages."""
        if self._writer is not None:
            self._writer.keep(path)

    def flush(self, seconds: float) -> bool:
        """Wait until everything is on disk. False if that takes longer."""
        return self._writer is None or self._writer.flush(seconds)

    def close(self, seconds: float) -> None:
        """Write what is still to be written, for at most so long, and stop."""
        for readers in (self._readers, self._aside):
            readers.shutdown(cancel_futures=True)
        if self._writer is not None:
            self._writer.close(seconds)

    # -- the readers

    def _ask(self, aside: bool, work: Callable[[*Asked], Answer], *asked: *Asked) -> Future[Answer]:
        future = (self._aside if aside else self._readers).submit(work, *asked)
        future.add_done_callback(lambda _: self._read_some.set())
        return future

    def _after(self, parent: bytes) -> Iterator[StoredPage]:
        if self._host is not None:
            yield from self._host.after(parent)
        if self._disk is not None:
            yield from self._disk.after(parent)

    def _nearest(self, parent: bytes, tokens: tuple[int, ...], most: int) -> Near | None:
        near = [(common(page.tokens, tokens), page) for page in self._after(parent)]
        for shared, page in sorted(near, key=lambda each: -each[0]):
            if shared <= most:
                return None
            latents = self._read(page)
            if latents is not None:
                return Near(page, shared, latents)
        return None

    def _read(self, page: StoredPage) -> Latents | None:
        if self._host is not None and (latents := self._host.get(page.key)) is not None:
            kept: Latents = latents.numpy()
            return kept
        if self._disk is None:
            return None
        try:
            raw = np.empty(self._pool.row_bytes * len(page.tokens), np.uint8)
        except MemoryError:
            return None
        return raw if self._disk.read(page, raw.data) else None


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common prefix."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))
