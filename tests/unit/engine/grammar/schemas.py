"""Schemas of the kinds that tools have."""

from __future__ import annotations

from typing import Any

SHORT = {"type": "string", "maxLength": 6}


def object_of(required: int | None = None, **properties: Any) -> dict[str, Any]:
    """No others allowed; all required, or the first so many."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties)[:required],
        "additionalProperties": False,
    }


SCHEMAS: dict[str, dict[str, Any]] = {
    "nested": object_of(a=object_of(b=object_of(c={"type": "integer"}, d=SHORT))),
    "any_of": object_of(
        target={
            "anyOf": [
                object_of(kind={"const": "file"}, path=SHORT),
                object_of(kind={"const": "line"}, number={"type": "integer", "minimum": 1}),
                {"type": "null"},
            ]
        }
    ),
    "enums": object_of(
        unit={"enum": ["°C", "°F", "K"]}, level={"enum": [1, 2.5, None, True, "high"]}
    ),
    "patterns": object_of(
        day={"type": "string", "pattern": "^\\d{4}-(0[1-9]|1[0-2])$"},
        code={"type": "string", "pattern": "^[A-Z]{2,3}-?[0-9]+x{0,3}$"},
    ),
    "refs": {
        "$defs": {"node": object_of(1, value=SHORT, next={"$ref": "#/$defs/node"})},
        **object_of(head={"$ref": "#/$defs/node"}),
    },
    "arrays": object_of(
        items={"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 3},
        pair={"type": "array", "prefixItems": [SHORT, {"type": "boolean"}], "items": False},
        grid={"type": "array", "maxItems": 2, "items": {"type": "array", "maxItems": 2}},
    ),
    "unicode": object_of(**{"größe": SHORT, "名前": SHORT, "🌍": {"enum": ["да", "ні", "ٱلسَّلَامُ"]}}),
    "bounds": object_of(
        n={"type": "integer", "minimum": -3, "maximum": 12, "multipleOf": 3},
        x={"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        s={"type": "string", "minLength": 2, "maxLength": 4},
    ),
    "formats": object_of(
        at={"type": "string", "format": "date-time"}, id={"type": "string", "format": "uuid"}
    ),
    "optional": object_of(0, a=SHORT, b={"type": ["integer", "null"]}, c={"type": "boolean"}),
    "map": {
        "type": "object",
        "additionalProperties": {"type": "integer"},
        "maxProperties": 3,
    },
    "all_of": {
        "allOf": [
            {"properties": {"a": SHORT}, "required": ["a"]},
            {"properties": {"b": {"type": "boolean"}}, "required": ["b"]},
        ],
        "type": "object",
        "maxProperties": 2,
    },
    "old": {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "definitions": {"small": {"type": "integer", "maximum": 5, "exclusiveMaximum": True}},
        **object_of(n={"$ref": "#/definitions/small"}),
    },
    "empty": object_of(),
    "one_of": object_of(
        how={"oneOf": [SHORT, {"type": "integer"}, {"type": "array", "maxItems": 1}]}
    ),
    "one_of by reference": {
        "$defs": {
            "file": object_of(1, path=SHORT, size={"type": "integer"}),
            "name": {"type": "string", "maxLength": 6},
        },
        **object_of(of={"oneOf": [{"$ref": "#/$defs/file"}, {"$ref": "#/$defs/name"}]}),
    },
    "one_of that overlap": {
        **object_of(0, a=SHORT, b={"type": "integer"}, c={"type": "boolean"}),
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
    },
    "not": {**object_of(1, a=SHORT, b={"type": "integer"}), "not": {"required": ["b"]}},
    "not that value": object_of(a={"enum": ["x", "y", 3], "not": {"enum": ["x", 3.0]}}),
    "condition": {
        **object_of(1, kind={"enum": ["near", "far"]}, km={"type": "integer"}),
        "if": {"properties": {"kind": {"const": "far"}}},
        "then": {"required": ["km"]},
        "else": {"properties": {"km": False}},
    },
    "dependencies": {
        **object_of(0, card={"type": "integer"}, address=SHORT, note=SHORT),
        "dependentRequired": {"card": ["address"]},
        "dependentSchemas": {"note": {"required": ["card"]}},
    },
    "two of three": {
        **object_of(0, a=SHORT, b={"type": "integer"}, c={"type": "boolean"}),
        "minProperties": 2,
    },
    "two more at most": {
        **object_of(1, a=SHORT, b={"type": "integer"}, c={"type": "boolean"}, d={"type": "null"}),
        "maxProperties": 3,
    },
    "any at all": {
        "type": "object",
        "properties": {"a": SHORT, "b": {"type": "integer"}},
        "additionalProperties": {"type": "boolean"},
        "minProperties": 1,
    },
    "one at most": {
        "type": "object",
        "properties": {"a": SHORT, "b": {"type": "integer"}},
        "additionalProperties": {"type": "boolean"},
        "maxProperties": 1,
    },
    "bounds that exclude": object_of(
        n={"type": "number", "oneOf": [{"minimum": 3}, {"exclusiveMaximum": 5, "minimum": -1}]},
        s={"type": "string", "maxLength": 5, "not": {"minLength": 1, "maxLength": 3}},
    ),
    "one_of by a value that may be missing": {
        **object_of(0, kind={"type": "string"}, n={"type": "integer"}),
        "oneOf": [
            {"properties": {"kind": {"enum": ["a"]}}, "required": ["n"]},
            {"properties": {"kind": {"enum": ["b", "c"]}}},
        ],
    },
    "names listed": {
        "$defs": {"axis": {"enum": ["x", "y"]}},
        **object_of(
            at={
                "propertyNames": {"$ref": "#/$defs/axis"},
                "type": "object",
                "additionalProperties": {"type": "integer"},
            }
        ),
    },
    "names alike": {
        "type": "object",
        "propertyNames": {"pattern": "^[A-Z]{2,5}$"},
        "patternProperties": {".*": {"type": "boolean"}},
        "additionalProperties": False,
    },
    "unknown format": object_of(a={"type": "string", "format": "phone", "maxLength": 8}),
}
