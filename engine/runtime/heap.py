"""Freed memory is kept while a model is there: not given back to the system between layers.

Each layer of a prompt's chunk takes and frees the same tens of megabytes. glibc (malloc.c) gives
blocks of that size back at once, and the system clears their pages anew for the next layer.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h
_KEPT = 256 << 20
"""Bytes free at the end of the heap that are not given back."""
_LARGEST_IN_HEAP = 32 << 20
"""Larger blocks are mapped by themselves; glibc takes no more for this."""
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_mallopt = getattr(_libc, "mallopt", None)
_malloc_trim = getattr(_libc, "malloc_trim", None)


def keep_freed_memory() -> None:
    """For the whole process, and threads that begin later. Nothing where malloc is not glibc's."""
    if _mallopt is None or _malloc_trim is None:
        return
    _mallopt(_ARENA_MAX, 1)  # others than the first give whole heaps back, whatever is asked for
    _mallopt(_MMAP_THRESHOLD, _LARGEST_IN_HEAP)
    _mallopt(_TRIM_THRESHOLD, _KEPT)


def give_back_freed_memory() -> None:
    """All that is free, wherever in the heap. Takes milliseconds."""
    if _malloc_trim is not None:
        _malloc_trim(0)
