"""Arguments are valid under their schema, or somebody is told which part is not enforced."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from jsonschema.validators import validator_for

from engine.errors import RequestError
from engine.grammar.schemas import LONGEST_NUMBER, Place, Schemas

from .schemas import SCHEMAS, object_of
from .writing import Pen

SAMPLES = 6


@pytest.mark.parametrize("kind", SCHEMAS)
def test_sampled_arguments_are_valid(pen: Pen, kind: str) -> None:
    schema = SCHEMAS[kind]
    rules = pen.rules({"do": schema}, strict=True, tool_choice="required")
    validator = validator_for(schema)(schema)
    written = [pen.write(rules, seed, in_reasoning=True, most=1500) for seed in range(SAMPLES)]
    calls = [call for one in written for call in one.calls]
    assert len(calls) >= SAMPLES
    for call in calls:
        assert call.problem is None
        validator.validate(json.loads(call.arguments))
    if kind not in ("empty",):
        assert len({call.arguments for call in calls}) > 1, "there was something to choose"


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "unique": (object_of(a={"type": "array", "uniqueItems": True}), "uniqueItems"),
    "not": (object_of(a={"not": {"pattern": "a"}}), "not"),
    "look": (object_of(a={"type": "string", "pattern": "^(?=a)b"}), "look-around"),
    "condition": (
        {
            **object_of(0, a={}),
            "if": {"properties": {"a": {"multipleOf": 3}}},
            "then": {"required": ["a"]},
        },
        "if",
    ),
    "format": (object_of(a={"type": "string", "format": "iri"}), "iri"),
    "one_of": (object_of(a={"oneOf": [{"type": "number"}, {"type": "integer"}]}), "oneOf"),
    "unknown type": (object_of(a={"type": "text"}), "text"),
    "elsewhere": (object_of(a={"$ref": "https://example.org/schema"}), "example.org"),
    "repeated names": ({"type": "object", "minProperties": 2}, "minProperties"),
    "no object": ({"type": "string"}, "no object"),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_cannot_be_enforced_is_said(pen: Pen, kind: str) -> None:
    schema, word = ODD[kind]
    with pytest.raises(RequestError) as refused:
        pen.rules({"do": schema}, strict=True)
    assert refused.value.code == "schema_unsupported"
    assert word in refused.value.message
    written = [
        pen.write(
            pen.rules({"do": schema}, tool_choice="required"), seed, in_reasoning=True, most=200
        )
        for seed in range(3)
    ]
    assert any(one.calls for one in written)
    for one in written:
        assert all(isinstance(json.loads(call.arguments), dict) for call in one.calls)
        if one.calls:
            assert any(c == "schema_not_enforced" and word in m for c, m in one.remarks)


def test_what_else_a_schema_says_is_enforced_beside_an_odd_pattern(pen: Pen) -> None:
    schema = object_of(a={"type": "string", "pattern": "^(?=a)b"}, b={"const": 7})
    rules = pen.rules({"do": schema}, tool_choice="required")
    written = [pen.write(rules, seed, in_reasoning=True, most=900) for seed in range(6)]
    calls = [call for one in written for call in one.calls]
    assert calls
    assert all(json.loads(call.arguments)["b"] == 7 for call in calls)
    assert all("look-around" in one.remarks[0][1] for one in written if one.calls)


def test_a_schema_that_never_ends_is_refused(pen: Pen) -> None:
    deep: dict[str, Any] = {"type": "object"}
    for _ in range(5000):
        deep = {"type": "object", "properties": {"a": deep}}
    with pytest.raises(RequestError):
        pen.rules({"do": deep}, strict=True)


@pytest.mark.parametrize(
    ("schema", "goes_on"),
    [
        ({"type": "number"}, False),
        ({"type": "integer", "minimum": 7}, False),
        ({}, False),
        ({"const": 10**120}, True),
        ({"type": "string"}, True),
        ({"type": "string", "pattern": "^1[0-9]+$"}, True),
    ],
)
def test_numbers_come_to_an_end(pen: Pen, schema: dict[str, Any], goes_on: bool) -> None:
    """Of digits alone, which a model may love; but not where they are asked for."""
    vocabulary = pen.grammars.vocabulary
    place = Place(Schemas(vocabulary).arguments(object_of(n=schema), True, "do"), vocabulary)
    digits = [vocabulary.ids[str(digit).encode()] for digit in range(10)]
    quote = b'"' if schema.get("type") == "string" else b""
    for byte in b'{"n":' + quote + b"1" + b"0" * (LONGEST_NUMBER - 2):
        place.accept(vocabulary.ids[bytes([byte])])
    assert place.allowed()[digits].any()
    place.accept(vocabulary.ids[b"0"])
    mask = place.allowed()
    assert mask.any() and mask[digits].any() == goes_on
    tokens = [vocabulary.bytes[i] for i in np.flatnonzero(mask)]
    assert any(token[:1].isdigit() for token in tokens) == goes_on


@pytest.mark.parametrize("sign", [b"", b"-", b"+"])
def test_exponents_are_short(pen: Pen, sign: bytes) -> None:
    """Texts that look like numbers go on."""
    vocabulary = pen.grammars.vocabulary
    schema = object_of(s={"type": "string"}, n={"type": "number"})
    place = Place(Schemas(vocabulary).arguments(schema, True, "do"), vocabulary)
    for text, goes_on in (
        (b'{"s":"1e' + sign + b"23", True), (b'","n":1e' + sign + b"2", True), (b"3", False),
    ):  # fmt: skip
        for byte in text:
            place.accept(vocabulary.ids[bytes([byte])])
        assert place.allowed()[vocabulary.ids[b"0"]] == goes_on
    assert place.allowed()[vocabulary.ids[b"}"]]


def test_options_of_the_library_are_not_the_callers(pen: Pen) -> None:
    """A schema from elsewhere cannot switch off what is enforced."""
    schema = {
        **object_of(a={"type": "array", "uniqueItems": True}),
        "x-guidance": {"lenient": True},
    }
    with pytest.raises(RequestError, match="uniqueItems"):
        pen.rules({"do": schema}, strict=True)
