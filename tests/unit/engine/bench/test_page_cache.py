"""Pages of files come into memory and leave it again."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from pathlib import Path

import pytest

from engine.bench.page_cache import drop, read_in

PAGES = 64


def resident(path: Path) -> int:
    """How many of a file's pages are in memory, as mincore says."""
    libc = ctypes.CDLL(None, use_errno=True)
    state = (ctypes.c_ubyte * PAGES)()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        start = ctypes.c_char.from_buffer(view)
        address = ctypes.c_void_p(ctypes.addressof(start))
        assert libc.mincore(address, ctypes.c_size_t(len(view)), state) == 0
        del start
    return sum(s & 1 for s in state)


@pytest.mark.skipif(sys.platform != "linux", reason="mincore and posix_fadvise of Linux")
def test_a_file_is_read_in_and_dropped(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    with path.open("wb") as file:
        file.write(os.urandom(PAGES * mmap.PAGESIZE))
        os.fsync(file.fileno())  # pages that are not on disk yet stay
    drop([path])
    if resident(path) == PAGES:
        pytest.skip("a file system that lives in memory")
    assert resident(path) < PAGES // 2
    read_in([path])
    assert resident(path) == PAGES
    drop([path])
    assert resident(path) < PAGES // 2
