"""Which files the system holds in memory: read in before a turn, given back after it.

Where a system has no posix_fadvise, files stay for as long as it likes to keep them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_PIECE = 16 << 20


def read_in(files: Iterable[Path]) -> None:
    """Read files from end to end, so that their pages are in memory. Raises OSError."""
    piece = bytearray(_PIECE)
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(piece):
                pass


def drop(files: Iterable[Path]) -> None:
    """Give back the pages of files that no process maps any longer. Raises OSError."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in files:
        with path.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
