"""The machine's memory nodes, so that each reads its own share of every expert.

Linux tells them under ``/sys/devices/system/node``; elsewhere, and on one node, there is nothing to
divide. The kernels pin a node's threads to its processors and give them always the same rows: on
the first touch of a mapped page the system places it on the node that reads it.
"""

from __future__ import annotations

import os
from pathlib import Path

_NODES = Path("/sys/devices/system/node")

Nodes = tuple[tuple[int, ...], ...]


def memory_nodes(threads: int, root: Path = _NODES) -> Nodes:
    """Processors of each node that this process may use; () where there is nothing to divide."""
    allowed = _allowed()
    nodes = []
    for folder in sorted(root.glob("node[0-9]*"), key=lambda p: int(p.name[4:])):
        try:
            listed = parse_processors((folder / "cpulist").read_text("ascii"))
        except (OSError, ValueError):
            continue
        usable = tuple(p for p in listed if allowed is None or p in allowed)
        if usable:  # a node may have memory only
            nodes.append(usable)
    return tuple(nodes) if 1 < len(nodes) <= threads else ()


def parse_processors(text: str) -> list[int]:
    """``0-3,8`` -> [0, 1, 2, 3, 8]. Raises ValueError."""
    found: list[int] = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            found += range(int(first), int(last or first) + 1)
    return found


def _allowed() -> set[int] | None:
    """Processors of this process; None where the system does not tell."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
