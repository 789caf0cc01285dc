"""A bound on how much of the mapped weights a process keeps in memory at once."""

from __future__ import annotations

import os

import psutil

from engine.checkpoint.mapped import MappedCheckpoint
from engine.placement.limits import memory_limit

_SHARE = 0.7
"""Of the machine's (or the container's) memory; the rest is for copies, caches and others."""


class PageLimit:
    """Gives mapped pages back between layers when a model is larger than memory.

    Without it the system would keep every page until it runs short, and then look for what to
    drop while the model waits. A model that fits is left alone.
    """

    def __init__(self, source: MappedCheckpoint, limit: int | None = None) -> None:
        self._source = source
        self._limit = limit or mapped_limit()
        self.watched = sum(p.stat().st_size for p in source.files) > self._limit
        """Whether the model is larger than that, so that somebody must call `keep`."""

    def keep(self) -> None:
        """Between layers, on any thread."""
        if self.watched and mapped_bytes() > self._limit:
            self._source.release()


def mapped_limit() -> int:
    """Bytes of mapped weights that stay in memory; larger models are given back between layers."""
    return int(_total_memory() * _SHARE)


def mapped_bytes() -> int:
    """File pages in this process's memory now."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[2]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux: then the system decides alone
        return 0


def _total_memory() -> int:
    limit = memory_limit()
    total = int(psutil.virtual_memory().total)
    return min(total, limit.limit) if limit else total
