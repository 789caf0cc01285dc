"""A schema in fewer keywords: what the grammar library does not enforce, said by what it does.

``oneOf`` becomes ``anyOf`` where its choices exclude each other or can be made to; ``not``,
``if`` and dependencies become alternatives. What is valid stays the same.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from engine.grammar.disjoint import disjoint, types
from engine.grammar.negation import SILENT, NotSayable, any_of, contrary
from engine.grammar.pointers import Document, Schema
from engine.grammar.properties import counts, names

FORMATS = frozenset(
    {"date-time", "date", "time", "duration", "email", "idn-email", "hostname", "idn-hostname",
     "ipv4", "ipv6", "uri", "uri-reference", "iri", "iri-reference", "uuid", "uri-template",
     "json-pointer", "relative-json-pointer", "regex"}
)  # fmt: skip
"""Of the standard. Any other is a remark, and demands nothing."""
_ONE, _MANY, _NAMED = (
    {"additionalProperties", "items", "contains", "propertyNames", "not", "if", "then", "else",
     "additionalItems", "unevaluatedItems", "unevaluatedProperties"},
    {"anyOf", "oneOf", "allOf", "prefixItems", "items"},
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"},
)  # fmt: skip
"""Where schemas are within schemas."""
_CHANGED = re.compile(r"/(oneOf|not|if|then|else|allOf|dependen\w+)(/|$)")
_CHOICES = 24
"""Of a ``oneOf``: more are not compared with each other."""


def in_fewer_keywords(schema: Schema) -> dict[str, Any]:
    """The same schema where nothing can be said otherwise. Raises RecursionError."""
    nodes = list(_within(schema))
    entangled = any(_entangled(node, node is schema) for node in nodes)
    made = _rewritten(None if entangled else Document(schema), schema)
    if all(str(node.get("$ref", "#")).startswith("#") for node in nodes):
        for name in ("$id", "id"):  # nothing leads there, and what it is called may be no address
            if isinstance(made.get(name), str):
                del made[name]
    return made


def without_patterns(schema: Schema, takes: Callable[[str], bool]) -> dict[str, Any]:
    """A looser schema: without the patterns that are not taken."""
    made = dict(schema)
    if isinstance(made.get("pattern"), str) and not takes(made["pattern"]):
        del made["pattern"]
    if isinstance(made.get("patternProperties"), Mapping):
        made["patternProperties"] = {
            pattern: one for pattern, one in made["patternProperties"].items() if takes(pattern)
        }
    return _each(made, lambda one: without_patterns(one, takes))


def _entangled(node: Schema, root: bool) -> bool:
    """Whether pointers would no longer lead where they did."""
    reference = node.get("$ref")
    if isinstance(reference, str) and _CHANGED.search(reference):
        return True
    return not root and any(isinstance(node.get(name), str) for name in ("$id", "id"))


def _within(schema: Schema) -> Iterator[Schema]:
    """A schema and all schemas in it."""
    yield schema
    for keyword, value in schema.items():
        inner: list[Any] = []
        if isinstance(value, Mapping):
            if keyword in _ONE:
                inner = [value]
            elif keyword in _NAMED:
                inner = list(value.values())
        elif isinstance(value, list) and keyword in _MANY:
            inner = value
        for one in inner:
            if isinstance(one, Mapping):
                yield from _within(one)


def _rewritten(document: Document | None, schema: Schema) -> dict[str, Any]:
    """``document``: None where nothing may be moved."""
    made: dict[str, Any] = dict(schema)
    if isinstance(kind := made.get("format"), str) and kind not in FORMATS:
        del made["format"]
    if document is not None:
        _bare_reference(document, made)
        _say_otherwise(document, made)
    return _each(made, lambda one: _rewritten(document, one))


def _each(schema: Schema, change: Callable[[Schema], dict[str, Any]]) -> dict[str, Any]:
    """A schema with the schemas in it changed."""

    def changed(one: Any) -> Any:
        return change(one) if isinstance(one, Mapping) else one

    made = dict(schema)
    for keyword, value in schema.items():
        if isinstance(value, Mapping):
            if keyword in _ONE:
                made[keyword] = changed(value)
            elif keyword in _NAMED:
                made[keyword] = {name: changed(one) for name, one in value.items()}
        elif isinstance(value, list) and keyword in _MANY:
            made[keyword] = [changed(one) for one in value]
    return made


def _bare_reference(document: Document, made: dict[str, Any]) -> None:
    """A reference without what adds nothing to it: the library follows no circle with siblings."""
    target = document.target(made.get("$ref"))
    if target is None:
        return
    for keyword in made.keys() & {"$schema", *SILENT}:
        del made[keyword]
    if "type" in made and types(document, target) <= types(document, {"type": made["type"]}):
        del made["type"]


def _say_otherwise(document: Document, made: dict[str, Any]) -> None:
    besides: list[Schema] = []
    for say in (_choices, _contraries, _conditions, _dependencies, names, counts):
        besides += say(document, made)
    listed = made.get("allOf", [])
    if besides and isinstance(listed, list):
        made["allOf"] = [*listed, *besides]


def _choices(document: Document, made: dict[str, Any]) -> Iterator[Schema]:
    """``oneOf`` whose choices are apart, each where it must be without what others allow."""
    choices = made.get("oneOf")
    if not isinstance(choices, list) or not 0 < len(choices) <= _CHOICES:
        return
    around = {name: value for name, value in made.items() if name not in ("oneOf", "not", "if")}
    apart: list[list[Schema]] = [[] for _ in choices]
    try:
        for (i, one), (k, other) in itertools.combinations(enumerate(choices), 2):
            mine, theirs = {"allOf": [around, one]}, {"allOf": [around, other]}
            if not disjoint(document, mine, theirs):
                apart[i].append(contrary(document, other, mine))
                apart[k].append(contrary(document, one, theirs))
    except NotSayable:
        return
    del made["oneOf"]
    yield {
        "anyOf": [
            {"allOf": [one, *without]} if without else one
            for one, without in zip(choices, apart, strict=True)
        ]
    }


def _contraries(document: Document, made: dict[str, Any]) -> Iterator[Schema]:
    if "not" not in made:
        return
    around = {name: value for name, value in made.items() if name != "not"}
    try:
        said = contrary(document, made["not"], around)
    except NotSayable:
        return
    del made["not"]
    yield said


def _conditions(document: Document, made: dict[str, Any]) -> Iterator[Schema]:
    """``if`` a then b else c: b or not a; a or c."""
    if "if" not in made:
        return
    condition = made["if"]
    around = {name: value for name, value in made.items() if name != "if"}
    ways: list[Schema] = []
    try:
        if "then" in made:
            ways.append(any_of([contrary(document, condition, around), made["then"]]))
        if "else" in made:
            ways.append(any_of([condition, made["else"]]))
    except NotSayable:
        return
    for keyword in ("if", "then", "else"):
        made.pop(keyword, None)
    yield from ways


def _dependencies(document: Document, made: dict[str, Any]) -> Iterator[Schema]:
    """Without the property, or with what it brings along."""
    for keyword in ("dependencies", "dependentRequired", "dependentSchemas"):
        listed = made.get(keyword)
        if not isinstance(listed, Mapping):
            continue
        del made[keyword]
        for name, brings in listed.items():
            with_it = {"required": brings} if isinstance(brings, list) else brings
            yield {"anyOf": [{"properties": {name: False}}, with_it]}
