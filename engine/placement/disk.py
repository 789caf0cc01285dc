"""How fast a disk reads a large file that is not in memory."""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK = 8 << 20
_ENOUGH = 16 << 20
"""Smaller files, and smaller stretches between holes, say nothing."""
_MOST = 512 << 20
_SAMPLE = 32 << 20
_STRETCHES = 64
"""How far to look for one that is not a hole."""
UNKNOWN = 0.5e9
"""Assumed where nothing can be measured: a SATA disk."""


def read_rate(folder: Path | None, seconds: float = 0.3) -> float:
    """Bytes a second from the largest file in ``folder``; None: from a temporary file."""
    try:
        if folder is not None:
            rate = _rate_of_largest(folder, seconds)
            if rate is not None:
                return rate
        with _sample() as path:
            return _rate(path, (0, _SAMPLE), seconds)
    except OSError:
        return UNKNOWN


def _rate_of_largest(folder: Path, seconds: float) -> float | None:
    sizes = [(f.stat().st_size, f) for f in folder.glob("*.safetensors")]
    size, path = max(sizes, default=(0, None))
    if path is None or size < _ENOUGH:
        return None
    stretch = _stretch(path, size)
    return _rate(path, stretch, seconds) if stretch else None


def _stretch(path: Path, size: int) -> tuple[int, int] | None:
    """A stretch (begin, end) with data in it: holes of a sparse file are read from nowhere."""
    if not hasattr(os, "SEEK_DATA"):
        return 0, size
    file = os.open(path, os.O_RDONLY)
    try:
        end = 0
        for _ in range(_STRETCHES):
            begin = os.lseek(file, end, os.SEEK_DATA)
            end = os.lseek(file, begin, os.SEEK_HOLE)
            if end - begin >= _ENOUGH:
                return begin, end
    except OSError:  # no data after this
        pass
    finally:
        os.close(file)
    return None


def _rate(path: Path, stretch: tuple[int, int], seconds: float) -> float:
    begin, end = (bound // _BLOCK * _BLOCK for bound in stretch)
    begin, blocks = begin + (begin < stretch[0]) * _BLOCK, 0
    with _uncached(path) as file, mmap.mmap(-1, _BLOCK) as buffer:  # mapped: O_DIRECT wants pages
        started, at = time.perf_counter(), begin
        while at < end and blocks * _BLOCK < _MOST:
            if os.preadv(file, [buffer], at) != _BLOCK:
                break
            blocks, at = blocks + 1, at + _BLOCK
            if time.perf_counter() - started > seconds:
                break
        spent = time.perf_counter() - started
    return blocks * _BLOCK / spent if blocks else UNKNOWN


@contextmanager
def _uncached(path: Path) -> Iterator[int]:
    """The file open for reading past the page cache, or with its pages dropped."""
    direct = getattr(os, "O_DIRECT", 0)
    try:
        file = os.open(path, os.O_RDONLY | direct)
    except OSError:  # a file system without it, as tmpfs was for long
        file = os.open(path, os.O_RDONLY)
        direct = 0
    try:
        if not direct and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        yield file
    finally:
        os.close(file)


@contextmanager
def _sample() -> Iterator[Path]:
    """A file of random bytes (disks that compress must not gain from it), removed afterwards."""
    with tempfile.NamedTemporaryFile(prefix="selenograph-", suffix=".probe") as file:
        for _ in range(_SAMPLE // _BLOCK):
            file.write(os.urandom(_BLOCK))
        file.flush()
        os.fsync(file.fileno())
        yield Path(file.name)
