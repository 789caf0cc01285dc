"""Memory of our own for experts: places of one size, taken and given back again and again.

On huge pages, which the disk fills faster; a place is filled for the first time when it is first
taken, so that memory is used as it is needed and never more than all places together.
"""

from __future__ import annotations

import mmap
from contextlib import suppress

import torch
from torch import Tensor

HUGE = 2 << 20


class Slots:
    """`count` places of `size` bytes, a multiple of the page. Taking and giving: one thread."""

    def __init__(self, size: int, count: int) -> None:
        """Raises OSError if the system has no such addresses."""
        self.size, self.nbytes = size, size * count
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._memory = mmap.mmap(-1, self.nbytes + HUGE, flags=flags)
        address = torch.frombuffer(self._memory, dtype=torch.uint8, count=1).data_ptr()
        self._first = -address % HUGE
        # A huge page across the end would be memory beyond the budget.
        whole = self.nbytes // HUGE * HUGE
        with suppress(OSError):  # a kernel without huge pages
            self._memory.madvise(mmap.MADV_NOHUGEPAGE)
            if whole:
                self._memory.madvise(mmap.MADV_HUGEPAGE, self._first, whole)
        # A child would share the pages, and what the disk writes could miss ours.
        self._memory.madvise(mmap.MADV_DONTFORK)
        self._free = list(reversed(range(count)))

    def take(self) -> int:
        """A free place; there must be one. The one that was given back last, if any."""
        return self._free.pop()

    def give(self, slot: int) -> None:
        """Back."""
        self._free.append(slot)

    def bytes_of(self, slot: int) -> memoryview:
        """A place to be written."""
        first = self._first + slot * self.size
        return memoryview(self._memory)[first : first + self.size]

    def tensor(self, slot: int, at: int, like: Tensor) -> Tensor:
        """A view from byte `at` of a place on, of the form of `like`. Keeps the memory alive."""
        flat = torch.frombuffer(
            self._memory,
            dtype=like.dtype,
            count=like.numel(),
            offset=self._first + slot * self.size + at,
        )
        return flat.view(like.shape)

    def close(self) -> None:
        """Give the memory back; views from before show zeros."""
        self._memory.madvise(mmap.MADV_DONTNEED)
