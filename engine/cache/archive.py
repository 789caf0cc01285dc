"""Pages beyond the pool: in the machine's memory for a pool on a device, and on disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from engine.cache.host_store import HostStore
from engine.cache.latent_pool import LatentPool
from engine.cache.snapshot import SnapshotFolder, StoredPage
from engine.cache.writer import HeldPage, SnapshotWriter

_READERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class ArchiveUse:
    """What an archive has, and why its files are not written, if so."""

    host_pages: int = 0
    disk_pages: int = 0
    disk_bytes: int = 0
    error: str | None = None


class PageArchive:
    """What a tree asks before it computes, and tells before it forgets.

    Engine thread only, but for ``use``. ``guard`` is held while a page of the pool changes hands,
    for the writer copies pages while the engine runs.
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

    def has(self, key: bytes) -> bool:
        """Whether a page may be there."""
        if self._host is not None and self._host.has(key):
            return True
        return self._disk is not None and self._ready() and self._disk.has(key)

    def after(self, parent: bytes) -> Iterator[StoredPage]:
        """The pages that follow a page; what is damaged is noticed only when it is loaded."""
        if self._host is not None:
            yield from self._host.after(parent)
        if self._disk is not None and self._ready():
            yield from self._disk.after(parent)

    def load(self, chain: Sequence[StoredPage], pages: Sequence[int]) -> int:
        """Bring a chain into `pages` of the pool: how many, from the first, are right."""
        if len(chain) == 1:
            return int(self._load(chain[0], pages[0]))
        results = list(self._readers.map(self._load, chain, pages))
        return next((i for i, right in enumerate(results) if not right), len(results))

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
        if self._writer is not None:
            self._writer.close(seconds)
        self._readers.shutdown()

    def _ready(self) -> bool:
        return self._writer is not None and self._writer.ready()

    def _load(self, page: StoredPage, to: int) -> bool:
        """On any thread; the page of the pool is nobody else's."""
        count = len(page.tokens)
        latents = self._host.get(page.key) if self._host is not None else None
        if latents is not None:
            self._pool.fill(to, count, latents.numpy())
            return True
        if self._disk is None:
            return False
        raw = self._pool.in_place(to, count)
        if raw is not None:
            return self._disk.read(page, raw.data)
        raw = np.empty(self._pool.row_bytes * count, np.uint8)
        if not self._disk.read(page, raw.data):
            return False
        self._pool.fill(to, count, raw)
        return True
