"""Pages of mapped files: told to come, told to go. Linux."""

from __future__ import annotations

import bisect
import ctypes
import errno
import mmap
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from engine.errors import CheckpointError, ResourceError

PAGE = mmap.PAGESIZE
_WILLNEED, _DONTNEED, _POPULATE_READ = 3, 4, 22
_EVERY = 16
"""Of so many pages one is looked at: they come and go in larger pieces."""
_EHWPOISON = 133  # which the errno module leaves out
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
if _libc is not None:
    _libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    _libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)


@dataclass(frozen=True, slots=True)
class Region:
    """A mapping of a file into this process: addresses, and where in the file it begins."""

    begin: int
    end: int
    path: str
    offset: int


@dataclass(frozen=True, slots=True)
class Range:
    """Addresses `begin`..`end` of a region, widened to whole pages."""

    begin: int
    end: int
    region: Region

    @property
    def nbytes(self) -> int:
        """The most memory that it can take."""
        return self.end - self.begin

    @property
    def offset(self) -> int:
        """Where in the file it begins."""
        return self.region.offset + self.begin - self.region.begin


class FilePages:
    """Finds the pages behind tensors. Any thread, once all tensors are known."""

    def __init__(self) -> None:
        if _libc is None:
            raise ResourceError(
                "unsupported",
                "a memory budget for experts needs Linux",
                "load without a budget; the system then decides what stays in memory",
            )
        self._regions: list[Region] = []
        self._files: dict[str, int | None] = {}

    def ranges(self, tensors: Iterable[Tensor]) -> tuple[Range, ...]:
        """The widened ranges, ascending, not overlapping; tensors that are no file view have none.

        Those live in memory of their own, which must never be dropped: it would be lost.
        """
        found: list[Range] = []
        for tensor in sorted(tensors, key=Tensor.data_ptr):
            region = self._region(tensor.data_ptr()) if tensor.nbytes else None
            if region is None:
                continue
            begin = tensor.data_ptr() // PAGE * PAGE
            end = -(-(tensor.data_ptr() + tensor.nbytes) // PAGE) * PAGE
            if found and found[-1].region == region and begin <= found[-1].end:
                begin = found.pop().begin
            found.append(Range(begin, end, region))
        return tuple(found)

    def cached(self, ranges: Iterable[Range]) -> bool:
        """Whether most of it is in the page cache; False if the system does not tell us.

        It says of files that are not ours and that we may not write that all of it is there.
        """
        here = pages = 0
        for r in ranges:
            if not os.access(r.region.path, os.W_OK):
                return False
            seen = ctypes.create_string_buffer(r.nbytes // PAGE)
            assert _libc is not None
            if _libc.mincore(r.begin, r.nbytes, seen):
                return False
            pages += len(seen)
            here += sum(seen.raw[n] & 1 for n in range(0, len(seen), _EVERY)) * _EVERY
        return here * 2 > pages

    def read_ahead(self, ranges: Iterable[Range]) -> None:
        """Begin to read; returns before it is there."""
        for r in ranges:
            _advise(r, _WILLNEED)

    def read(self, ranges: Iterable[Range]) -> None:
        """Read and map. Sleeps without the GIL. Raises CheckpointError if the file shrank."""
        for r in ranges:
            if _advise(r, _POPULATE_READ) in (errno.EFAULT, _EHWPOISON):
                raise cannot_read(r)

    def unmap(self, r: Range) -> None:
        """Take it out of this process. What is needed after all is mapped again when touched."""
        _advise(r, _DONTNEED)

    def forget(self, ranges: Iterable[Range]) -> None:
        """Take unmapped pages out of the page cache too: then they are free for all."""
        for r in ranges:
            file = self.file(r.region.path)
            if file is not None:
                os.posix_fadvise(file, r.offset, r.nbytes, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            if file is not None:
                os.close(file)
        self._files.clear()

    def file(self, path: str) -> int | None:
        """Open for reading; None for a file that was deleted: its pages go with the mapping."""
        if path not in self._files:
            try:
                self._files[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                self._files[path] = None
        return self._files[path]

    def _region(self, address: int) -> Region | None:
        found = self._known(address)
        if found is None:
            self._regions = _file_regions()
            found = self._known(address)
        return found

    def _known(self, address: int) -> Region | None:
        at = bisect.bisect_right(self._regions, address, key=lambda r: r.begin) - 1
        region = self._regions[at] if at >= 0 else None
        return region if region is not None and address < region.end else None


def cannot_read(r: Range) -> CheckpointError:
    """For a file that could be read when it was mapped."""
    return CheckpointError(
        "shard_truncated",
        f"{os.path.basename(r.region.path)} can no longer be read",
        "the file was changed or its disk fails; load the model again",
    )


def _advise(r: Range, what: int) -> int:
    """Returns errno, 0 for success."""
    assert _libc is not None
    return ctypes.get_errno() if _libc.madvise(r.begin, r.nbytes, what) else 0


def _file_regions() -> list[Region]:
    """This process's read-only mappings of files, ascending."""
    regions = []
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.rstrip("\n").split(maxsplit=5)
            # Shared and not writable: dropping such pages can lose nothing.
            if len(fields) < 6 or fields[1] != "r--s" or not fields[5].startswith("/"):
                continue
            begin, _, end = fields[0].partition("-")
            path = fields[5].replace("\\012", "\n")
            regions.append(Region(int(begin, 16), int(end, 16), path, int(fields[2], 16)))
    return regions
