"""Whether two schemas are never both valid. Proved or not; what is not proved may still be so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.grammar.pointers import Document, Schema

TYPES = frozenset({"null", "boolean", "object", "array", "number", "string"})
"""An integer is a number."""
_DEEPEST = 6


def disjoint(document: Document, one: object, other: object, depth: int = 0) -> bool:
    """Whether nothing can be valid under both."""
    if one is False or other is False:
        return True
    if depth > _DEEPEST or not document.spend():
        return False
    return (
        _by_choices(document, one, other, depth)
        or _by_choices(document, other, one, depth)
        or _by_values(document, one, other)
        or _by_properties(document, one, other, depth)
    )


def types(document: Document, schema: object) -> frozenset[str]:
    """Those that a schema leaves possible, integers among the numbers."""
    found = TYPES
    for part in document.parts(schema):
        if "type" in part:
            listed = part["type"] if isinstance(part["type"], list) else [part["type"]]
            found &= {"number" if name == "integer" else str(name) for name in listed}
        if (values := listed_values(part)) is not None:
            found &= {_type(value) for value in values}
    return found


def listed_values(part: Schema) -> list[Any] | None:
    """What ``const`` or ``enum`` leave; None where neither is there."""
    if "const" in part:
        return [part["const"]]
    values = part.get("enum")
    return values if isinstance(values, list) else None


def canonical(value: Any) -> str:
    """The same for values that JSON Schema takes for equal."""
    return json.dumps(_plain(value), sort_keys=True)


def _by_choices(document: Document, one: object, other: object, depth: int) -> bool:
    """All of one's alternatives are apart from the other."""
    for part in document.parts(one):
        for keyword in ("anyOf", "oneOf"):
            choices = part.get(keyword)
            if isinstance(choices, list) and all(
                disjoint(document, choice, other, depth + 1) for choice in choices
            ):
                return True
    return False


def _by_values(document: Document, one: object, other: object) -> bool:
    if not types(document, one) & types(document, other):
        return True
    mine, theirs = _values(document, one), _values(document, other)
    return mine is not None and theirs is not None and not mine & theirs


def _values(document: Document, schema: object) -> frozenset[str] | None:
    found: frozenset[str] | None = None
    for part in document.parts(schema):
        if (values := listed_values(part)) is not None:
            here = frozenset(canonical(value) for value in values)
            found = here if found is None else found & here
    return found


def _by_properties(document: Document, one: object, other: object, depth: int) -> bool:
    """A property that either requires, the other forbids, or wants to be something else."""
    if (types(document, one) & types(document, other)) != {"object"}:
        return False
    mine, theirs = list(document.parts(one)), list(document.parts(other))
    needed = {name for part in (*mine, *theirs) for name in _required(part)}
    return any(
        disjoint(document, here, there, depth + 1)
        for name in needed
        for here in _of_property(mine, name)
        for there in _of_property(theirs, name)
    )


def _required(part: Schema) -> list[str]:
    names = part.get("required")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _of_property(parts: list[Schema], name: str) -> list[object]:
    """What each part demands of a property."""
    found: list[object] = [True]
    for part in parts:
        named = part.get("properties")
        if isinstance(named, Mapping) and name in named:
            found.append(named[name])
        elif part.get("additionalProperties") is False and not part.get("patternProperties"):
            found.append(False)
    return found


def _type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value
