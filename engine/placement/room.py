"""How much memory routed experts get where not all of them fit. Pure; the planner and the engine
go by the same rule."""

from __future__ import annotations

SHARE = 0.7
"""Of the memory that is free beside the dense part. Experts are read into memory that the system
cannot take back, of which :mod:`engine.tiers.reading` allows three quarters; what is free changes
a little between the choice and the reading."""
_LEAST_SHARE = 0.25
"""Of all free memory, what the least room may take before the system had better decide."""


def experts_at_a_time(experts: int, room: int, free: int, least: int) -> int:
    """Bytes of `experts` in memory at once: all, if they fit into `room`, else what is safe.

    `room` is what everything else leaves, `free` what the dense part leaves, `least` what is taken
    even where that is too little.
    """
    if experts <= room:
        return experts
    return min(experts, max(min(room, int(SHARE * free)), least))


def budget(experts: int, dense: int, others: int, free: int, least: int) -> int:
    """Bytes for `experts` by themselves; 0: none is needed, or none would help.

    `free` is all free memory, `dense` what every token reads of it, `others` caches and
    activations. The `least` is given where even those do not fit: to read experts as they are
    needed is better than to find them page by page.
    """
    beside = free - dense
    if experts <= beside - others:
        return 0
    held = experts_at_a_time(experts, beside - others, beside, least)
    return 0 if held <= least and least > _LEAST_SHARE * free else held
