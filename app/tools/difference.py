"""Unified diffs for people: quick for large files too, and cut where they are long."""

from __future__ import annotations

import difflib
import re

LONGEST = 40_000
"""Characters of a diff."""
_CONTEXT = 3
_MOST_LINES = 3_000
"""Changed lines up to which lines are matched with each other."""
_PLACE = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


def unified(before: str | None, after: str, name: str) -> str:
    """Empty if there is no difference. ``before`` None: there was no file."""
    if before == after:
        return ""
    old, new = (before or "").splitlines(), after.splitlines()
    shared = min(len(old), len(new))
    head = 0
    while head < shared and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < shared - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    first, left = max(head - _CONTEXT, 0), max(tail - _CONTEXT, 0)
    middles = old[first : len(old) - left], new[first : len(new) - left]
    if sum(map(len, middles)) > _MOST_LINES + 4 * _CONTEXT:
        lines = [f"@@ -{first + 1},{len(middles[0])} +{first + 1},{len(middles[1])} @@"]
        lines += [f"-{line}" for line in middles[0]] + [f"+{line}" for line in middles[1]]
    else:
        found = difflib.unified_diff(*middles, n=_CONTEXT, lineterm="")
        lines = [_moved(line, first) for line in list(found)[2:]]
    if not lines:
        lines = ["(only the line ends differ)"]
    source = "/dev/null" if before is None else f"a/{name}"
    return _cut([f"--- {source}", f"+++ b/{name}", *lines])


def _moved(line: str, by: int) -> str:
    place = _PLACE.match(line)
    if place is None or not by:
        return line
    old, olds, new, news = place.groups()
    counts = [f",{count}" if count else "" for count in (olds, news)]
    return f"@@ -{int(old) + by}{counts[0]} +{int(new) + by}{counts[1]} @@"


def _cut(lines: list[str]) -> str:
    room, taken = LONGEST, 0
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        taken += 1
    if taken == len(lines):
        return "\n".join(lines)
    return "\n".join([*lines[:taken], f"({len(lines) - taken} more lines)"])
