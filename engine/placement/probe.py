"""Measure this machine, in about two seconds.

Everything is bounded: a slow disk or a small memory shortens the measurement, it does not lengthen
it. What others do at the same time makes the figures lower, as it makes the model slower; so
memory is taken as it usually reads, not at its best.
"""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import psutil

from engine.native import _kernels
from engine.placement.accelerators import find_accelerators
from engine.placement.disk import read_rate
from engine.placement.hardware import Hardware
from engine.placement.limits import cpu_limit, memory_limit

GIB = 1 << 30
_LEAST_MIB, _USUAL_MIB, _MIB_PER_CORE = 64, 256, 12
"""To read from: several times the caches, which grow with the cores."""
_FREE_SHARE = 0.1
"""Of the free memory, what measuring it may touch."""
_LOOPS = 100
_SECONDS = 0.6
"""For all thread counts of one measurement together."""


def probe(folder: Path | None = None) -> Hardware:
    """This machine. ``folder``: the model's, whose disk is measured; None: that of the system's
    temporary files."""
    memory = psutil.virtual_memory()
    limit = memory_limit()
    available = min(memory.available, limit.free) if limit else memory.available
    cores = _cores()
    counts = thread_counts(cores)
    affordable = max(_LEAST_MIB, int(available * _FREE_SHARE) >> 20)
    mebibytes = min(_USUAL_MIB + _MIB_PER_CORE * cores, affordable)
    isa = _kernels.available_isas()[-1]
    seconds = _SECONDS / len(counts)
    return Hardware(
        name="this machine",
        isa=isa,
        cores=cores,
        memory_gib=memory.total / GIB,
        available_gib=available / GIB,
        limit_gib=limit.limit / GIB if limit else None,
        read_gb_per_s={
            n: _kernels.read_bandwidth(n, mebibytes, seconds, typical=True) for n in counts
        },
        int8_gops={n: _kernels.dot_peak(isa, n, seconds / 2) for n in counts},
        disk_gb_per_s=read_rate(folder) / 1e9,
        loop_us=1e6 * min(interpreter_loop() for _ in range(_LOOPS)),
        numa_nodes=_numa_nodes(),
        accelerators=find_accelerators(),
        source=f"measured: {_processor()}",
    )


def interpreter_loop() -> float:
    """Seconds of a thousand turns of a loop: how fast everything is that is not a kernel."""
    begin = time.perf_counter()
    seen: dict[int, int] = {}
    total = 0
    for i in range(1000):
        seen[i & 63] = i
        total += len(seen)
    return time.perf_counter() - begin


def thread_counts(cores: int) -> tuple[int, ...]:
    """1, 2, 4 and so on, then all cores."""
    counts = [1]
    while 2 * counts[-1] < cores:
        counts.append(2 * counts[-1])
    return (*counts, cores) if cores > 1 else (1,)


def _cores() -> int:
    """Physical cores that we may use."""
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    return max(1, min(physical, allowed, cpu_limit() or physical))


def _numa_nodes() -> int:
    nodes = Path("/sys/devices/system/node").glob("node[0-9]*")
    return max(1, sum(1 for _ in nodes))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
