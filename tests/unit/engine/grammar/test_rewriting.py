"""A schema in fewer keywords says the same."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from engine.grammar.disjoint import disjoint
from engine.grammar.pointers import Document
from engine.grammar.rewriting import in_fewer_keywords

from .schemas import SCHEMAS, object_of

_VALUES = (None, True, False, 0, 1, 1.0, 2.5, "", "a", "b", [], ["a"], {}, {"a": 1})
_TYPES = ("null", "boolean", "object", "array", "number", "integer", "string")
_TRIES = 600


def _schema(draw: random.Random, depth: int) -> Any:
    if not depth or draw.random() < 0.1:
        return draw.choice(
            [True, False, {"type": draw.choice(_TYPES)}, {"const": draw.choice(_VALUES)},
             {"required": ["a"]}, {"enum": ["a", "b"]}, {"$ref": "#/$defs/x"}]
        )  # fmt: skip
    names = draw.sample("abc", draw.randint(0, 2))
    inner = [_schema(draw, depth - 1) for _ in range(draw.randint(1, 3))]
    named = {name: draw.choice(inner) for name in names}
    every = {
        "type": draw.choice([draw.choice(_TYPES), draw.sample(_TYPES, 2), "object", "object"]),
        "enum": draw.sample(_VALUES, 2),
        "const": draw.choice(_VALUES),
        "properties": named,
        "required": names,
        "format": "phone",
        "$ref": "#/$defs/x",
        "dependentRequired": {name: draw.sample("abc", 2) for name in names},
        "dependentSchemas": named,
        "minProperties": draw.randint(0, 2),
        "maxProperties": draw.randint(0, 2),
        "minLength": draw.randint(0, 2),
        "maximum": draw.choice([0, 1.5]),
        "exclusiveMinimum": draw.choice([0, 1]),
        "maxItems": draw.randint(0, 1),
        **dict.fromkeys(("anyOf", "oneOf", "allOf"), inner),
        **{
            keyword: draw.choice(inner)
            for keyword in ("additionalProperties", "items", "not", "if", "then", "else")
        },
    }
    return {keyword: every[keyword] for keyword in draw.sample(list(every), draw.randint(1, 4))}


def _instance(draw: random.Random, depth: int = 2) -> Any:
    if not depth or draw.random() < 0.3:
        return draw.choice(_VALUES)
    names = draw.sample("abc", draw.randint(0, 3))
    return {name: _instance(draw, depth - 1) for name in names}


@pytest.mark.parametrize("part", range(4))
def test_the_same_is_valid(part: int) -> None:
    changed = 0
    for seed in range(part * _TRIES, (part + 1) * _TRIES):
        draw = random.Random(seed)
        schema = {"allOf": [_schema(draw, 3)], "$defs": {"x": {"type": "object"}}}
        fewer = in_fewer_keywords(schema)
        changed += fewer != schema
        before, after = Draft202012Validator(schema), Draft202012Validator(fewer)
        for _ in range(8):
            instance = _instance(draw)
            assert before.is_valid(instance) == after.is_valid(instance), (seed, instance, fewer)
    assert changed > _TRIES / 3


_JUNK: tuple[Any, ...] = (
    None, True, 0, 1.5, "", "x", [], {}, [1], ["a"], {"a": 1}, [{}], [[]], [None], {"type": [{}]},
)  # fmt: skip


def test_schemas_that_are_none_are_left_to_the_library() -> None:
    """Whatever stands where a keyword wants something else."""
    for seed in range(2 * _TRIES):
        draw = random.Random(seed)
        inner = _schema(draw, 2)
        schema = {keyword: draw.choice([inner, {"not": inner}]) for keyword in ("not", "if")}
        schema |= {"then": {}, "oneOf": [inner, _schema(draw, 2)], "properties": {"a": inner}}
        broken = draw.choice([node for node in _nodes(schema) if node])
        broken[draw.choice([*broken, "format", "propertyNames"])] = draw.choice(_JUNK)
        assert isinstance(in_fewer_keywords(schema), dict)


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else ():
        yield from _nodes(one)


@pytest.mark.parametrize("part", range(4))
def test_as_many_properties_are_valid(part: int) -> None:
    """Of every set of names, also of others than those that are listed."""
    said = 0
    for seed in range(part * _TRIES, (part + 1) * _TRIES):
        draw = random.Random(seed)
        schema = {
            "properties": {n: draw.choice([{}, {}, True, False]) for n in draw.sample("abcd", 3)},
            "required": draw.sample("abcdx", draw.choice([0, 0, 1, 2])),
            "additionalProperties": draw.choice([False, False, {}]),
            "patternProperties": draw.choice([{}, {}, {"^x": {}}]),
        } | {k: draw.randint(0, 4) for k in draw.sample(["minProperties", "maxProperties"], 1)}
        fewer = in_fewer_keywords(schema)
        said += fewer != schema
        before, after = Draft202012Validator(schema), Draft202012Validator(fewer)
        for count in range(6):
            for names in itertools.combinations("abcdxy", count):
                instance = dict.fromkeys(names, 0)
                assert before.is_valid(instance) == after.is_valid(instance), (seed, names, fewer)
        assert after.is_valid([])
    assert said > _TRIES / 2


@pytest.mark.parametrize("part", range(4))
def test_properties_of_the_same_names_are_valid(part: int) -> None:
    said = 0
    for seed in range(part * _TRIES, (part + 1) * _TRIES):
        draw = random.Random(seed)
        values = [{}, False, {"type": "number"}, {"const": "b"}]
        asked = [{"type": "string"}, {"enum": ["a", "x", 1]}, {"pattern": "^[ab]"}, {"const": "x"},
                 {"maxLength": 1}, {"type": "number"}, {"$ref": "#/$defs/name"}, False]  # fmt: skip
        schema = {
            "propertyNames": draw.choice(asked),
            "additionalProperties": draw.choice(values),
            "$defs": {"name": {"description": "A name.", "pattern": "x"}},
        }
        more = {
            "patternProperties": {draw.choice([".*", "a"]): draw.choice(values)},
            "properties": draw.choice([{}, {"x": {}}]),
            "maxProperties": 1,
            "required": ["a"],
            "type": "object",
        }
        schema |= {key: more[key] for key in draw.sample(list(more), draw.randint(0, 2))}
        fewer = in_fewer_keywords(schema)
        said += "propertyNames" not in fewer
        before, after = Draft202012Validator(schema), Draft202012Validator(fewer)
        for count in range(4):
            for names in itertools.combinations(("a", "x", "ab", "bx", ""), count):
                instance = {name: draw.choice([1, "b"]) for name in names}
                assert before.is_valid(instance) == after.is_valid(instance), (seed, names, fewer)
    assert said > _TRIES / 4


def test_what_is_apart_is_never_valid_together() -> None:
    names = {"$defs": {"x": {"type": "object"}}}
    apart = 0
    for seed in range(2 * _TRIES):
        draw = random.Random(seed)
        pair = [_schema(draw, 2), _schema(draw, 2)]
        if disjoint(Document(names), *pair):
            apart += 1
            both = Draft202012Validator({**names, "allOf": pair})
            assert not any(both.is_valid(_instance(draw)) for _ in range(8)), pair
    assert apart > _TRIES / 4


@pytest.mark.parametrize(
    "kind",
    ["one_of by reference", "one_of that overlap", "not", "not that value", "condition",
     "dependencies", "unknown format", "two of three", "two more at most", "bounds that exclude",
     "one_of by a value that may be missing", "names listed", "names alike"],
)  # fmt: skip
def test_the_librarys_gaps_are_gone(kind: str) -> None:
    gaps = (
        "oneOf",
        '"not"',
        '"if"',
        "dependent",
        "phone",
        "minProperties",
        "maxProperties",
        "propertyNames",
    )
    text = repr(in_fewer_keywords(SCHEMAS[kind])).replace("'", '"')
    assert not any(gap in text for gap in gaps)


def test_pointers_into_what_would_move_are_left_alone() -> None:
    schema = {
        **object_of(a={"$ref": "#/properties/b/oneOf/0"}, b={"oneOf": [{"type": "null"}]}),
        "title": "kept",
    }
    assert in_fewer_keywords(schema) == schema


@pytest.mark.parametrize("name", ["any of these", "#user", "https://example.com/user#/name"])
def test_what_a_schema_is_called_does_not_matter(name: str) -> None:
    schema = {**SCHEMAS["refs"], "$id": name}
    assert in_fewer_keywords(schema) == in_fewer_keywords(SCHEMAS["refs"])


def test_what_a_schema_is_called_stays_where_it_is_referred_to() -> None:
    name = "https://example.com/user"
    schema = {
        **SCHEMAS["refs"],
        "$id": name,
        "properties": {"head": {"$ref": f"{name}#/$defs/node"}},
    }
    assert in_fewer_keywords(schema)["$id"] == name


def test_a_choice_of_many_is_not_compared_for_long() -> None:
    draw = random.Random(0)
    choices = [object_of(**{f"p{draw.randrange(9)}": {}}) for _ in range(2000)]
    schema = {"type": "object", "oneOf": choices}
    assert in_fewer_keywords(schema) == schema


def test_choices_within_choices_are_not_compared_for_long() -> None:
    """All of them are apart, which half a million comparisons would show."""
    ways = [
        {"anyOf": [{"anyOf": [{"const": f"{word}{i} {k}"} for k in range(30)]} for i in range(24)]}
        for word in ("x", "y")
    ]
    schema = object_of(a={"oneOf": ways})
    assert in_fewer_keywords(schema) == schema
    few = object_of(a={"oneOf": [{"anyOf": way["anyOf"][:2]} for way in ways]})
    assert "oneOf" not in repr(in_fewer_keywords(few))
