"""What is said of an object's properties as a whole, how many and of what names, said of each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

from engine.grammar.disjoint import listed_values, types
from engine.grammar.negation import SILENT
from engine.grammar.pointers import Document, Schema

_MOST = 24
"""Alternatives that one bound may become."""
_MOST_NAMES = 64


def names(document: Document, made: dict[str, Any]) -> Iterator[Schema]:
    """``propertyNames`` where it gives a pattern or lists names, and nothing else does."""
    asked = made.get("propertyNames")
    if not isinstance(asked, dict) or made.get("properties"):
        return
    match list((made.get("patternProperties") or {}).items()):
        case []:
            others = made.get("additionalProperties", True)
        case [(".*", every)]:
            others = every
        case _:
            return
    parts = list(document.parts(asked))
    demands = [(k, part) for part in parts for k in part.keys() - SILENT - _PASSED_OVER]
    allowed: dict[str, Any] = {}
    match demands if "string" in types(document, asked) else None:
        case []:
            allowed = {"additionalProperties": others}
        case [("pattern", part)]:
            allowed = {"patternProperties": {part["pattern"]: others}}
        case [("enum" | "const", part)]:
            listed = [v for v in listed_values(part) or () if isinstance(v, str)]
            if len(listed) <= _MOST_NAMES:
                allowed = {"properties": dict.fromkeys(listed, others)}
    if allowed:
        del made["propertyNames"]
        made.pop("patternProperties", None)
        made.update({"additionalProperties": False} | allowed)
    yield from ()


_PASSED_OVER = {"$ref", "allOf", "type"}
"""Of a name's schema: they are followed, and read otherwise."""


def counts(document: Document, made: dict[str, Any]) -> Iterator[Schema]:
    """``minProperties`` and ``maxProperties`` where some of the names may be missing.

    Names that are not listed stay the library's to count, and then it counts nothing else.
    """
    named, required = made.get("properties"), made.get("required", [])
    if not isinstance(named, dict) or not isinstance(required, list):
        return
    required = [name for name in required if isinstance(name, str)]
    optional = [n for n, one in named.items() if one is not False and n not in required]
    closed = made.get("additionalProperties") is False and not made.get("patternProperties")
    for keyword, say in (("minProperties", _at_least), ("maxProperties", _at_most)):
        bound = made.get(keyword)
        if not optional or not isinstance(bound, int) or isinstance(bound, bool):
            continue
        ways = say(optional, bound - len(set(required)), bound, closed)
        if ways is not None:
            del made[keyword]
        if ways:
            yield {"anyOf": ways}


def _at_least(optional: list[str], more: int, bound: int, closed: bool) -> list[Schema] | None:
    """``more``: how many have to come besides those that are required. Empty: nothing is asked;
    None: there are no such ways, or too many.
    """
    if more <= 0:
        return []
    if closed and 0 < math.comb(len(optional), more) <= _MOST:
        return [{"required": [*some]} for some in itertools.combinations(optional, more)]
    if not closed and bound == 1 and len(optional) < _MOST:
        other: Schema = {"properties": _none_of(optional), "minProperties": 1}
        return [*({"required": [name]} for name in optional), other]
    return None


def _at_most(optional: list[str], more: int, bound: int, closed: bool) -> list[Schema] | None:
    """As `_at_least`; ``more``: how many may come besides."""
    if closed and more >= len(optional):
        return []
    if more < 0 or (more and not closed and len(optional) >= _MOST):
        return None
    sizes = range(more, more + 1) if closed else range(min(more, len(optional)) + 1)
    if sum(math.comb(len(optional), size) for size in sizes) > _MOST:
        return None
    chosen = itertools.chain.from_iterable(itertools.combinations(optional, s) for s in sizes)
    if closed:
        return [{"properties": _none_of(n for n in optional if n not in some)} for some in chosen]
    return [
        {
            "required": [*some],
            "properties": _none_of(n for n in optional if n not in some),
            "maxProperties": bound,
        }
        for some in chosen
    ]


def _none_of(names: Iterable[str]) -> dict[str, bool]:
    return dict.fromkeys(names, False)
