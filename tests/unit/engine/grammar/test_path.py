"""A reply's parts come in their order, calls are numbered, control tokens are where they belong."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import validate

from engine.errors import RequestError
from engine.grammar.path import Path
from engine.protocol import (
    AnswerSchema,
    NamedTool,
    ResponseFormat,
    ToolName,
    canonical_arguments,
)
from engine.types import SamplingParams

from .schemas import SCHEMAS, object_of
from .writing import Pen, Written

TOOLS = {"read": SCHEMAS["optional"], "read:1": SCHEMAS["enums"], "läs-名": SCHEMAS["bounds"]}
CHOICE = object_of(mode={"enum": ["a", "b"]})
MARKERS = ("<|tool", "<think>", "</think>", "<|im_", "[EOS]")


def named(name: str) -> NamedTool:
    return NamedTool(ToolName(name))


choices = st.sampled_from([None, "auto", "none", "required", named("read"), named("läs-名")])
params = st.sampled_from(
    [
        SamplingParams(),
        SamplingParams(top_p=0.9),
        SamplingParams(top_k=5),
        SamplingParams(min_p=0.2, temperature=0.7),
        SamplingParams(temperature=0.0),
    ]
)


def check(written: Written, first: int, names: set[str]) -> None:
    """What holds of every reply that came to its end."""
    assert written.ended
    assert written.problems == []
    assert [call.id for call in written.calls] == [
        f"functions.{call.name}:{first + i}" for i, call in enumerate(written.calls)
    ]
    assert {call.name for call in written.calls} <= names
    assert all(call.problem is None for call in written.calls)
    for text in (written.text, written.reasoning, *(call.arguments for call in written.calls)):
        assert not any(marker in text for marker in MARKERS)
    assert written.calls or written.text


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    choice=choices,
    in_reasoning=st.booleans(),
    several=st.booleans(),
    first=st.integers(0, 300),
    params=params,
)
def test_every_reply_is_well_formed(
    pen: Pen,
    seed: int,
    choice: Any,
    in_reasoning: bool,
    several: bool,
    first: int,
    params: SamplingParams,
) -> None:
    rules = pen.rules(TOOLS, tool_choice=choice, parallel_tool_calls=several)
    # What cuts the tail off may never draw the end of a text; most do.
    written = pen.write(rules, seed, in_reasoning=in_reasoning, next_call=first, params=params)
    if not written.ended:
        return
    check(written, first, set(rules.tools))
    if choice == "none":
        assert not written.calls
    if choice == "required" or isinstance(choice, NamedTool):
        assert written.calls and not written.text
    if isinstance(choice, NamedTool):
        assert [call.name for call in written.calls] == [choice.function.name]
    if not several:
        assert len(written.calls) <= 1


@pytest.mark.parametrize("in_reasoning", [True, False])
def test_blanks_are_no_answer(pen: Pen, in_reasoning: bool) -> None:
    rules = pen.rules(TOOLS, tool_choice="none")
    path = Path(rules, in_reasoning, 0)
    ends = [i for i in rules.marks.ends if i is not None]
    if in_reasoning:
        assert rules.marks.reasoning_close is not None
        path.accept(rules.marks.reasoning_close)
    for token in pen.tokenizer.encode("\n \u3000\t"):  # one blank is of three bytes
        path.accept(token)
        assert not path.allowed()[ends].any()
    path.accept(pen.tokenizer.encode("a")[0])
    assert path.allowed()[ends].any()


def test_each_kind_of_reply_comes(pen: Pen) -> None:
    """Calls straight out of reasoning, after it, after text; several; none."""
    rules = pen.rules({"do": SCHEMAS["empty"], "no": CHOICE})
    unthink, section = rules.marks.reasoning_close, rules.marks.section_open
    seen = set()
    for seed in range(120):
        thinks = seed % 2 == 0
        written = pen.write(rules, seed, in_reasoning=thinks, most=60)
        order = tuple(i for i in written.ids if i in (unthink, section))
        seen.add((thinks, order, min(len(written.calls), 2), bool(written.text)))
    assert (True, (section,), 1, False) in seen, "out of reasoning"
    assert (True, (unthink, section), 1, False) in seen, "after it"
    assert (False, (section,), 2, True) in seen, "several after text"
    assert {(True, (unthink,), 0, True), (False, (), 0, True)} <= seen, "none"


def test_answers_follow_their_schema(pen: Pen) -> None:
    schema = SCHEMAS["any_of"]
    form = ResponseFormat("json_schema", AnswerSchema("x", schema, strict=True))
    alone = pen.rules({}, response_format=form)
    ended = [one for s in range(12) if (one := pen.write(alone, s, most=3000)).ended]
    assert len({one.text for one in ended}) > 3
    for one in ended:
        validate(json.loads(one.text), schema)
        assert not one.calls
    rules = pen.rules({"do": SCHEMAS["empty"]}, response_format=form)
    both = [pen.write(rules, seed, in_reasoning=True, most=3000) for seed in range(12)]
    assert any(one.calls for one in both)
    assert all(bool(one.calls) != bool(one.text) for one in both if one.ended)


def test_any_object_may_be_the_answer(pen: Pen) -> None:
    rules = pen.rules({}, response_format=ResponseFormat("json_object"))
    written = [pen.write(rules, seed, most=3000) for seed in range(10)]
    ended = [one for one in written if one.ended]
    assert ended
    assert all(isinstance(json.loads(one.text), dict) for one in ended)


def test_nothing_is_held_where_nothing_is_asked(pen: Pen) -> None:
    with pytest.raises(AssertionError):
        pen.rules({})
    with pytest.raises(AssertionError):
        pen.rules({}, response_format=ResponseFormat())


@pytest.mark.parametrize(
    ("schemas", "fields", "code"),
    [
        ({}, {"tool_choice": "required"}, "nothing_to_call"),
        ({"do": {}}, {"tool_choice": named("other")}, "no_such_tool"),
        ({"do": {}}, {"response_format": ResponseFormat("json_schema")}, "bad_request"),
        (
            {"do": object_of()},
            {"tool_choice": "required", "forbidden": [("do", "{}")]},
            "nothing_to_call",
        ),
    ],
)
def test_what_cannot_be(pen: Pen, schemas: Any, fields: Any, code: str) -> None:
    with pytest.raises(RequestError) as refused:
        pen.rules(schemas, **fields)
    assert refused.value.code == code


def test_forbidden_calls_are_never_made(pen: Pen) -> None:
    """However they are spelled; all others still are."""
    schema = object_of(mode={"enum": ["a", "b  b"]}, n={"enum": [1, 2.5]})
    every = [{"mode": mode, "n": n} for mode, n in itertools.product(("a", "b  b"), (1, 2.5))]
    free = pen.rules({"do": schema}, tool_choice="required", parallel_tool_calls=False)
    made = {_made(pen.write(free, seed)) for seed in range(40)}
    assert made == {canonical_arguments(json.dumps(one)) for one in every}
    forbidden = [("do", '{"n": 1,"mode":"a"}'), ("do", '{"mode": " b b", "n":2.50}')]
    rules = pen.rules(
        {"do": schema}, tool_choice="required", parallel_tool_calls=False, forbidden=forbidden
    )
    gone = {canonical_arguments(arguments) for _, arguments in forbidden}
    written = [pen.write(rules, seed) for seed in range(20)]
    assert {_made(one) for one in written} == made - gone
    assert all(not one.remarks for one in written)


def _made(written: Written) -> str:
    (call,) = written.calls
    return canonical_arguments(call.arguments)


def test_the_last_call_that_is_left_is_found(pen: Pen) -> None:
    """Choices that could only end in what is forbidden are not begun."""
    flags = [f"f{i}" for i in range(4)]
    schema = object_of(**{flag: {"type": "boolean"} for flag in flags})
    every = [dict(zip(flags, on, strict=True)) for on in itertools.product((True, False), repeat=4)]
    for left in (0, 5, 15):
        gone = [("do", json.dumps(one)) for i, one in enumerate(every) if i != left]
        rules = pen.rules(
            {"do": schema}, tool_choice="required", parallel_tool_calls=False, forbidden=gone
        )
        written = pen.write(rules, left)
        assert written.calls and not written.remarks
        assert all(json.loads(call.arguments) == every[left] for call in written.calls)


def test_a_tool_whose_only_call_is_forbidden_is_not_named(pen: Pen) -> None:
    schemas = {"now": object_of(), "do": CHOICE, "yes": object_of(sure={"type": "boolean"})}
    gone = [("now", "{}"), ("yes", '{"sure":true}'), ("yes", '{"sure":false}')]
    rules = pen.rules(schemas, tool_choice="required", forbidden=gone)
    assert {call.name for seed in range(8) for call in pen.write(rules, seed).calls} == {"do"}


def test_where_every_call_is_forbidden_one_is_written_and_it_is_said(pen: Pen) -> None:
    words = [f"{a}{b}" for a in "abcdefghijklmnopqrst" for b in "aeiou"]
    every = [("do", json.dumps({"word": word})) for word in words]
    schema = object_of(word={"enum": words})
    rules = pen.rules({"do": schema}, tool_choice="required", forbidden=every)
    written = pen.write(rules, 3)
    assert written.ended and written.calls
    assert ("forbidden_call" in {code for code, _ in written.remarks}) and not written.problems
