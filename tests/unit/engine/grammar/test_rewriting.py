"""A schema in fewer keywords says the same."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engine.grammar.disjoint import disjoint
from engine.grammar.pointers import Document
from engine.grammar.rewriting import in_fewer_keywords

from .schemas import SCHEMAS, object_of

_NAMES = st.sampled_from("abc")
_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 1, 1.0, 2.5, "", "a", "b", [], ["a"], {}, {"a": 1}]
)
_INSTANCES = st.recursive(
    _VALUES,
    lambda inner: st.dictionaries(_NAMES, inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=6,
)
_TYPES = st.sampled_from(["null", "boolean", "object", "array", "number", "integer", "string"])


def _extended(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(_NAMES, inner, max_size=3)
    names = st.lists(_NAMES, max_size=2, unique=True)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": _TYPES | st.lists(_TYPES, min_size=1, max_size=3, unique=True),
            "enum": st.lists(_VALUES, min_size=1, max_size=3),
            "const": _VALUES,
            "properties": named,
            "required": names,
            "additionalProperties": st.booleans() | inner,
            "items": inner,
            "anyOf": some,
            "oneOf": some,
            "allOf": some,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "dependentRequired": st.dictionaries(_NAMES, names, max_size=2),
            "dependentSchemas": st.dictionaries(_NAMES, inner, max_size=2),
            "$ref": st.just("#/$defs/x"),
            "format": st.just("phone"),
        },
    )


_SCHEMAS = st.recursive(st.booleans() | _extended(st.booleans()), _extended, max_leaves=8)


@given(_extended(_SCHEMAS), _extended(st.booleans()), st.lists(_INSTANCES, max_size=8))
def test_the_same_is_valid(
    schema: dict[str, Any], target: dict[str, Any], instances: list[Any]
) -> None:
    target.pop("$ref", None)
    schema = {**schema, "$defs": {"x": target}}
    fewer = in_fewer_keywords(schema)
    before, after = Draft202012Validator(schema), Draft202012Validator(fewer)
    for instance in instances:
        assert before.is_valid(instance) == after.is_valid(instance), (instance, fewer)


@given(_SCHEMAS, _SCHEMAS, st.lists(_INSTANCES, max_size=8))
def test_what_is_apart_is_never_valid_together(one: Any, other: Any, instances: list[Any]) -> None:
    document = Document({"$defs": {"x": {"type": "object"}}})
    if disjoint(document, one, other):
        both = Draft202012Validator({"$defs": {"x": {"type": "object"}}, "allOf": [one, other]})
        assert not any(both.is_valid(instance) for instance in instances)


@pytest.mark.parametrize(
    "kind",
    ["one_of by reference", "one_of that overlap", "not", "not that value", "condition",
     "dependencies", "unknown format"],
)  # fmt: skip
def test_the_librarys_gaps_are_gone(kind: str) -> None:
    gaps = ("oneOf", '"not"', '"if"', "dependent", "phone")
    text = repr(in_fewer_keywords(SCHEMAS[kind])).replace("'", '"')
    assert not any(gap in text for gap in gaps)


def test_pointers_into_what_would_move_are_left_alone() -> None:
    schema = {
        **object_of(a={"$ref": "#/properties/b/oneOf/0"}, b={"oneOf": [{"type": "null"}]}),
        "title": "kept",
    }
    assert in_fewer_keywords(schema) == schema


def test_a_choice_of_many_is_not_compared_for_long() -> None:
    draw = random.Random(0)
    choices = [object_of(**{f"p{draw.randrange(9)}": {}}) for _ in range(2000)]
    schema = {"type": "object", "oneOf": choices}
    assert in_fewer_keywords(schema) == schema
