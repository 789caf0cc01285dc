"""Markdown text cut into top-level blocks while it streams.

A block that is finished never changes again, so it is rendered once; only the open one at the end
is laid out anew. Fences and lists keep their blank lines. Qt-free.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)[^`\n]*$")
_ITEM = re.compile(r"^\s{0,3}(?:[-*+]|\d{1,9}[.)])(?:\s|$)")
_INDENTED = re.compile(r"^(?: {2,}|\t)")


@dataclass(frozen=True, slots=True)
class Block:
    """``language`` is None for prose, else a fence whose ``text`` is the bare code."""

    text: str
    language: str | None = None
    closed: bool = True


@lru_cache(maxsize=512)
def split_blocks(text: str) -> tuple[Block, ...]:
    """All blocks of a text; the last one is open when more may follow it."""
    blocks: list[Block] = []
    prose: list[str] = []
    lines = text.split("\n")
    i = 0
    while i < len(lines):
        opening = _FENCE.match(lines[i])
        if opening:
            _flush(prose, blocks)
            i = _fence(lines, i, opening, blocks)
            continue
        if not lines[i].strip() and not _list_goes_on(prose, lines, i):
            _flush(prose, blocks)
        elif lines[i].strip() or prose:
            prose.append(lines[i])
        i += 1
    if prose and any(line.strip() for line in prose):
        blocks.append(Block("\n".join(prose).rstrip("\n"), closed=False))
    return tuple(blocks)


def _fence(lines: list[str], i: int, opening: re.Match[str], blocks: list[Block]) -> int:
    mark, language = opening.group(1), opening.group(2)
    body: list[str] = []
    for j in range(i + 1, len(lines)):
        stripped = lines[j].strip()
        if stripped.startswith(mark) and not stripped.strip(mark[0]):
            blocks.append(Block("\n".join(body), language))
            return j + 1
        body.append(lines[j])
    blocks.append(Block("\n".join(body), language, closed=False))
    return len(lines)


def _list_goes_on(prose: list[str], lines: list[str], blank: int) -> bool:
    """A blank line inside a list: the next line with text is an item or indented."""
    if not prose or not _ITEM.match(prose[0]):
        return False
    following = next((line for line in lines[blank + 1 :] if line.strip()), None)
    return following is not None and bool(_ITEM.match(following) or _INDENTED.match(following))


def _flush(prose: list[str], blocks: list[Block]) -> None:
    if any(line.strip() for line in prose):
        blocks.append(Block("\n".join(prose).rstrip("\n")))
    prose.clear()
