"""Writes pages to disk while nobody waits for them."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.cache.latent_pool import LatentPool
from engine.cache.snapshot import FILE_OVERHEAD, SnapshotFolder, StoredPage

log = logging.getLogger("engine")
_LOOSE_BYTES = 256 << 20
"""Copies of pages that left the pool before they were written; more are not made."""
_SCAN_SECONDS = 10.0
_NICE = 10


class HeldPage(Protocol):
    """A page of the pool with its tokens. ``page`` is negative when it is no longer there."""

    key: bytes
    page: int
    tokens: tuple[int, ...]

    @property
    def stored(self) -> StoredPage:
        """What its file says of it."""


class SnapshotWriter:
    """A thread of its own. Pages are copied out of the pool one at a time, with `guard` held.

    When the disk is full, or refuses for another reason, it writes no more and ``error`` says why;
    what is stored can still be read.
    """

    def __init__(self, pool: LatentPool, folder: SnapshotFolder, guard: threading.Lock) -> None:
        self.error: str | None = None
        self._pool = pool
        self._folder = folder
        self._guard = guard
        self._changed = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._working = True
        self._closing = False
        self._loose = 0
        self._scanned = threading.Event()
        self._patient_until = time.monotonic() + _SCAN_SECONDS
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
        self._thread.start()

    @property
    def scanning(self) -> bool:
        """Whether the folder is being looked through, and not for too long yet to wait for it."""
        return not self._scanned.is_set() and time.monotonic() < self._patient_until

    def keep(self, path: Sequence[HeldPage]) -> None:
        """Write what is not there yet of a sequence's pages, the first first."""
        self._push(partial(self._write_path, path))

    def leaving(self, held: HeldPage) -> None:
        """The pool is about to lose a page."""
        if self.error or self._folder.has(held.key) or self._loose > _LOOSE_BYTES:
            return
        latents = self._pool.dump(held.page, len(held.tokens))
        with self._changed:
            self._loose += latents.nbytes
        self._push(partial(self._write_loose, held.stored, latents))

    def flush(self, seconds: float) -> bool:
        """Wait until everything is written. False if that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs and not self._working, seconds)

    def close(self, seconds: float) -> None:
        """Flush for at most so long, and stop; a page being written may take as long again."""
        self.flush(seconds)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(seconds)

    # -- the thread

    def _run(self) -> None:
        self._do(self._folder.scan)  # at full priority: the first request waits for it
        self._scanned.set()
        if sys.platform == "linux":  # where a thread has a priority of its own
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while (job := self._next()) is not None:
            self._do(job)

    def _do(self, job: Callable[[], None]) -> None:
        try:
            job()
        except OSError as error:
            self._stop(error)

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            self._working = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._jobs or self._closing)
            if self._closing:
                return None
            self._working = True
            return self._jobs.popleft()

    def _stop(self, error: OSError) -> None:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        self.error = "the disk is full" if full else f"snapshots cannot be written: {error}"
        log.error("%s: %s", self._folder.folder, self.error)
        with self._changed:
            self._jobs.clear()

    def _push(self, job: Callable[[], None]) -> None:
        with self._changed:
            if not self.error:
                self._jobs.append(job)
                self._changed.notify_all()

    def _write_path(self, path: Sequence[HeldPage]) -> None:
        path = path[: self._folder.max_bytes // (self._pool.page_bytes + FILE_OVERHEAD)]
        keys = [held.key for held in path]
        self._folder.touch(keys)  # or what is written now might drive out what it continues
        for held in path:
            if self._closing:
                return
            if not self._folder.has(held.key):
                self._write_held(held)
        self._folder.touch(keys)

    def _write_held(self, held: HeldPage) -> None:
        with self._guard:
            if held.page < 0:
                return
            latents = self._pool.dump(held.page, len(held.tokens))
        self._folder.write(held.stored, latents.data)

    def _write_loose(self, page: StoredPage, latents: NDArray[np.uint8]) -> None:
        try:
            self._folder.write(page, latents.data)
        finally:
            with self._changed:
                self._loose -= latents.nbytes
