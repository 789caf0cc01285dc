"""The contrary of a schema, in keywords that the grammar library knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.grammar.disjoint import TYPES, canonical, listed_values
from engine.grammar.pointers import Document, Schema

SILENT = frozenset(
    {"title", "description", "default", "examples", "$comment", "deprecated", "readOnly"}
)
"""Keywords that demand nothing."""
_DEEPEST = 6
_MOST = 8
"""Alternatives that one contrary may have."""


class NotSayable(Exception):
    """A contrary for which there are no such keywords."""


def contrary(document: Document, schema: object, within: object = True, depth: int = 0) -> Schema:
    """What is valid exactly where ``schema`` is not, of what is valid under ``within``.

    Raises NotSayable.
    """
    if isinstance(schema, bool):
        return {"enum": []} if schema else {}
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        raise NotSayable
    if set(schema) <= {"$ref", *SILENT} and "$ref" in schema:
        return contrary(document, document.target(schema["$ref"]), within, depth + 1)
    ways: list[Schema] = []
    for keyword in schema.keys() - SILENT:
        say = _SAYABLE.get(keyword)
        if say is None:
            raise NotSayable
        ways += say(document, schema, within, depth + 1)
    return any_of(ways)


def any_of(ways: list[Schema]) -> Schema:
    """One of them. Raises NotSayable where there are too many."""
    if len(ways) > _MOST:
        raise NotSayable
    return ways[0] if len(ways) == 1 else {"anyOf": ways} if ways else {"enum": []}


def _type(document: Document, schema: Schema, within: object, depth: int) -> list[Schema]:
    listed = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if any(name not in TYPES for name in map(str, listed)):
        raise NotSayable  # of integers; or no types at all
    others = sorted(TYPES.difference(listed))
    return [{"type": others}] if others else []


def _required(document: Document, schema: Schema, within: object, depth: int) -> list[Schema]:
    names = _listed(schema["required"])
    if not all(isinstance(name, str) for name in names):
        raise NotSayable
    return [{"type": "object", "properties": {name: False}} for name in names]


def _properties(document: Document, schema: Schema, within: object, depth: int) -> list[Schema]:
    ways: list[Schema] = []
    if not isinstance(schema["properties"], Mapping):
        raise NotSayable
    besides = [part.get("properties") for part in document.parts(within)]
    for name, one in schema["properties"].items():
        around = [named[name] for named in besides if isinstance(named, Mapping) and name in named]
        other = contrary(document, one, {"allOf": around}, depth)
        ways.append({"type": "object", "required": [name], "properties": {name: other}})
    return ways


def _values(document: Document, schema: Schema, within: object, depth: int) -> list[Schema]:
    """Only beside values that are counted up."""
    gone = {canonical(value) for value in listed_values(schema) or ()}
    for part in document.parts(within):
        values = listed_values(part)
        if values is None and part.get("type") == "boolean":
            values = [True, False]
        if values is not None:
            left: list[Any] = [value for value in values if canonical(value) not in gone]
            return [{"enum": left}] if left else []
    raise NotSayable


def _not(document: Document, schema: Schema, within: object, depth: int) -> list[Schema]:
    return [schema["not"]]


def _all(document: Document, schema: Schema, within: object, depth: int) -> list[Schema]:
    return [contrary(document, one, within, depth) for one in _listed(schema["allOf"])]


def _any(document: Document, schema: Schema, within: object, depth: int) -> list[Schema]:
    listed = _listed(schema["anyOf"])
    return [{"allOf": [contrary(document, one, within, depth) for one in listed]}]


def _listed(schemas: object) -> list[Any]:
    if not isinstance(schemas, list):
        raise NotSayable
    return schemas


def _bound(
    keyword: str, of: str, opposite: str, step: int = 0
) -> Callable[[Document, Schema, object, int], list[Schema]]:
    """On the other side of a bound; ``step``: of what is counted in whole numbers."""

    def say(document: Document, schema: Schema, within: object, depth: int) -> list[Schema]:
        bound = schema[keyword]
        if isinstance(bound, bool) or not isinstance(bound, int if step else int | float):
            raise NotSayable  # drafts before the sixth bend the other bound with a boolean
        if step and bound + step < 0:
            return []  # nothing is shorter than nothing
        return [{"type": of, opposite: bound + step}]

    return say


_SAYABLE: dict[str, Callable[[Document, Schema, object, int], list[Schema]]] = {
    "type": _type,
    "required": _required,
    "properties": _properties,
    "const": _values,
    "enum": _values,
    "not": _not,
    "allOf": _all,
    "anyOf": _any,
    "minimum": _bound("minimum", "number", "exclusiveMaximum"),
    "maximum": _bound("maximum", "number", "exclusiveMinimum"),
    "exclusiveMinimum": _bound("exclusiveMinimum", "number", "maximum"),
    "exclusiveMaximum": _bound("exclusiveMaximum", "number", "minimum"),
    "minLength": _bound("minLength", "string", "maxLength", -1),
    "maxLength": _bound("maxLength", "string", "minLength", 1),
    "minItems": _bound("minItems", "array", "maxItems", -1),
    "maxItems": _bound("maxItems", "array", "minItems", 1),
    "minProperties": _bound("minProperties", "object", "maxProperties", -1),
    "maxProperties": _bound("maxProperties", "object", "minProperties", 1),
}
