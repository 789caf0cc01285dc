"""What the engine's process does with freed memory, in a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_ASKED = """
import ctypes, resource
import psutil
from engine.runtime.heap import give_back_freed_memory, keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
SIZE = 24 << 20

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def layer():
    before, at = faults(), libc.malloc(SIZE)
    ctypes.memset(at, 1, SIZE)
    libc.free(at)
    return faults() - before

def resident():
    return psutil.Process().memory_info().rss

keep_freed_memory()
first, later = layer(), max(layer() for _ in range(4))
model = [libc.malloc(SIZE) for _ in range(8)]
for at in model:
    ctypes.memset(at, 1, SIZE)
above = libc.malloc(64)
for at in model:
    libc.free(at)
held = resident()
give_back_freed_memory()
print(first, later, (held - resident()) / (8 * SIZE))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
def test_what_is_freed_is_kept_until_it_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ASKED], capture_output=True, text=True, check=True, timeout=60
    )
    first, later, back = map(float, done.stdout.split())
    assert first >= 6, "pages, of 4 KiB or of 2 MiB"
    assert later < first / 4, "the second layer finds the pages of the first"
    assert back > 0.8
