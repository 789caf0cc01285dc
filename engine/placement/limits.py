"""What a container allows: memory and processor time, from control groups of either version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path

_NO_LIMIT = 1 << 60
"""Version 1 says "none" with a number near 2^63."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The tightest group around us. ``free``: below the limit, its page cache counted as free."""

    limit: int
    free: int


def memory_limit(root: Path = Path("/")) -> MemoryLimit | None:
    """The limit that leaves us least, or None where there is none. ``root``: of the file system."""
    found = [
        *(_version_2(group) for group in _groups(root, "")),
        *(_version_1(group) for group in _groups(root, "memory")),
    ]
    return min((m for m in found if m is not None), key=lambda m: m.free, default=None)


def cpu_limit(root: Path = Path("/")) -> int | None:
    """Whole processors that our group may keep busy, rounded up; None: as many as there are."""
    quotas = []
    for group in _groups(root, ""):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        quotas.append((_number(quota), _number(period)))
    for group in _groups(root, "cpu"):
        quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
        quotas.append((_number(quota), _number(period)))
    return min((ceil(q / p) for q, p in quotas if q and p), default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Our group and those around it; ``controller`` "" is version 2, which has one tree."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if controller not in names.split(","):
            continue
        mounts = (controller,) if controller else ("", "unified")
        for mount in mounts:
            top = root / "sys/fs/cgroup" / mount
            group = top / path.strip("/")
            # In a container the path may be the host's, of which only the top is to be seen.
            yield from (g for g in (group, *group.parents) if g == top or top in g.parents)


def _version_2(group: Path) -> MemoryLimit | None:
    limit = _number(_text(group / "memory.max"))
    if limit is None:
        return None
    used = _number(_text(group / "memory.current")) or 0
    return _limit(limit, used, _statistic(group, "file"))


def _version_1(group: Path) -> MemoryLimit | None:
    limit = _number(_text(group / "memory.limit_in_bytes"))
    if limit is None or limit >= _NO_LIMIT:
        return None
    used = _number(_text(group / "memory.usage_in_bytes")) or 0
    return _limit(limit, used, _statistic(group, "total_cache"))


def _limit(limit: int, used: int, cached: int) -> MemoryLimit:
    return MemoryLimit(limit, max(0, limit - max(0, used - cached)))


def _statistic(group: Path, name: str) -> int:
    for line in _text(group / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return _number(value) or 0
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _number(text: str) -> int | None:
    """None for ``max``, ``-1`` and what is not there."""
    return int(text) if text.isdigit() else None
