"""Calls are counted, and what is wrong with a reply is found."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from engine.bench.grammar.cases import Case, cases, schemas_in
from engine.bench.grammar.verifier import Outcome, other_faults, schema_faults
from engine.bench.grammar.work import NANO, Bench, verified
from engine.errors import RequestError
from engine.text.dialects.kimi_k2 import KIMI_K2
from engine.text.pieces import Piece
from engine.text.stream_parser import StreamParser
from engine.text.tool_call import ToolSpec


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench.of("nano", NANO, 1)


def outcome_of(bench: Bench, case: Case, text: str) -> Outcome:
    """As if a model had written it, control names included."""
    tools = [ToolSpec(name, schema) for name, schema in case.tools.items()]
    parser = StreamParser(bench.tokenizer, KIMI_K2, True, tools, case.first_call)
    ids = bench.tokenizer.encode_template(text)
    pieces: list[Piece] = [piece for token_id in ids for piece in parser.feed(token_id)]
    pieces += parser.finish("stop")
    return Outcome(tuple(ids), tuple(pieces), "tool_calls" if parser.calls else "stop", True)


def test_a_few_calls_of_nano(bench: Bench) -> None:
    schemas, source = schemas_in(None)
    found = cases(schemas, bench.grammars, random.Random(3))
    calls, replies = verified("nano", bench, found, 12, source, lambda text: None)
    assert (calls.name, calls.value, calls.ratio) == ("grammar.nano.calls", 1.0, 1.0)
    assert (replies.name, replies.value) == ("grammar.nano.replies", 1.0)
    assert "first fault" not in calls.note
    assert not bench.engine.busy


SECTION = "</think><|tool_calls_section_begin|>{}<|tool_calls_section_end|><|im_end|>"
CALL = "<|tool_call_begin|>functions.{}:{}<|tool_call_argument_begin|>{}<|tool_call_end|>"


@pytest.mark.parametrize(
    ("text", "choice", "fault"),
    [
        (SECTION.format(CALL.format("do", 4, '{"n": 1}')), "required", ""),
        (SECTION.format(CALL.format("do", 4, '{"n": "1"}')), "required", "'1' is not of type"),
        (SECTION.format(CALL.format("do", 4, "{")), "required", "invalid_arguments"),
        (SECTION.format(CALL.format("does", 4, "{}")), "required", "unknown_tool"),
        (SECTION.format(CALL.format("do", 3, '{"n": 1}')), "required", "id_repaired"),
        (SECTION.format(CALL.format("do", 4, '{"n": 1}')), "none", "no call was allowed"),
        ("</think>Well.<|im_end|>", "required", "a call was required"),
        ("</think>Well.<|im_end|>", "auto", ""),
        ("</think>A <|tool_call_begin|> in the text<|im_end|>", "auto", "missing_section"),
        ("thinking<|im_end|>", "auto", "neither answer nor call"),
    ],
)
def test_faults_are_found(bench: Bench, text: str, choice: str, fault: str) -> None:
    schemas = [{"type": "object", "properties": {"n": {"type": "integer"}}}]
    case = next(cases(schemas, bench.grammars, random.Random(0)))
    case = replace(case, tools={"do": schemas[0]}, choice=choice, first_call=4)
    outcome = outcome_of(bench, case, text)
    vocabulary = bench.grammars.vocabulary
    faults = [
        *schema_faults(case, outcome),
        *other_faults(case, outcome, bench.tokenizer, vocabulary, random.Random(1)),
    ]
    assert any(fault in one for one in faults) if fault else not faults


def test_schemas_come_from_a_folder(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no_schemas"):
        schemas_in(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps({"type": "object"}))
    (tmp_path / "b.json").write_text("[")
    (tmp_path / "c.json").write_text(json.dumps({"type": "string"}))
    assert schemas_in(tmp_path)[0] == [{"type": "object"}]
