"""Replies cut short, ids, and when pieces come."""

from typing import Any

import pytest

from engine.errors import CheckpointError
from engine.text.dialects.kimi_k2 import KIMI_K2
from engine.text.pieces import (
    ReasoningDelta,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    ToolCallEnd,
)
from engine.text.stream_parser import StreamParser
from engine.text.tokenizer import Tokenizer
from engine.text.tool_call import ToolSpec
from tests.unit.engine.text.replies import (
    ARGS,
    CALC,
    CALC_ARGS,
    CALL,
    CLOSE,
    ONE,
    OPEN,
    TOOLS,
    Read,
    called,
    parse,
    reading,
    tokens,
)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("<think>Hm", Read("Hm", "", (), ("truncated",))),
        ("<think>Hm</think>", Read("Hm", "", (), ("truncated",))),
        ("<think>Hm</think>The ans", Read("Hm", "The ans", (), ("truncated",))),
        (f"Now.{OPEN}", Read("", "Now.", (), ("truncated",))),
        (f"{OPEN}{CALL}", Read("", "", (), ("truncated",))),
        (f"{OPEN}{CALL}functions.calc", Read("", "", (), ("truncated",))),
        (
            f'{OPEN}{CALL}functions.calculator:0{ARGS}{{"expr',
            Read("", "", (("functions.calculator:0", "calculator", '{"expr', "truncated"),), ()),
        ),
        (
            f"{OPEN}{CALL}functions.calculator:0{ARGS}",
            Read("", "", (("functions.calculator:0", "calculator", "", "truncated"),), ()),
        ),
        (
            f"{OPEN}{CALL}functions.calculator:0{ARGS}{CALC_ARGS}",
            Read("", "", ONE, ("truncated",)),
        ),
        (f"{OPEN}{CALC}", Read("", "", ONE, ("truncated",))),
    ],
)
def test_truncation_in_every_state(tokenizer: Tokenizer, reply: str, expected: Read) -> None:
    assert reading(parse(tokenizer, tokens(tokenizer, reply), cause="length")) == expected


def test_an_abort_closes_what_is_open_and_blames_nobody(tokenizer: Tokenizer) -> None:
    ids = tokens(tokenizer, f'<think>a</think>b{OPEN}{CALL}functions.python:0{ARGS}{{"co')
    for length in range(len(ids) + 1):
        read = reading(parse(tokenizer, ids[:length], cause="abort"))
        assert set(read.problems) <= {"truncated"}
    assert read.calls == (("functions.python:0", "python", '{"co', "truncated"),)


def test_a_prefilled_reasoning_mark(tokenizer: Tokenizer) -> None:
    for reply in ("Hm.</think>Yes.", "<think>Hm.</think>Yes."):
        read = reading(parse(tokenizer, tokens(tokenizer, reply), reasoning=True))
        assert (read.reasoning, read.text) == ("Hm.", "Yes.")
    calls = reading(parse(tokenizer, tokens(tokenizer, f"Hm.{OPEN}{CALC}{CLOSE}"), reasoning=True))
    assert calls == Read("Hm.", "", ONE, ())


def test_ids_go_on_counting_through_the_conversation(tokenizer: Tokenizer) -> None:
    reply = OPEN + called("functions.calculator:7", CALC_ARGS) + CALC + CLOSE
    read = reading(parse(tokenizer, tokens(tokenizer, reply), first=7))
    assert [call[0] for call in read.calls] == ["functions.calculator:7", "functions.calculator:8"]
    assert read.problems == ("id_repaired",)


def test_pieces_come_as_soon_as_their_meaning_is_certain(tokenizer: Tokenizer) -> None:
    parser = StreamParser(tokenizer, KIMI_K2, True, TOOLS)
    reply = tokens(tokenizer, f"r</think>a{OPEN}{CALL}functions.calculator:0{ARGS}")
    seen = [parser.feed(token_id) for token_id in reply]
    assert seen[0] == [ReasoningDelta("r")]
    assert seen[2] == [TextDelta("a")]
    assert seen[-1] == [ToolCallBegin(0, "functions.calculator:0", "calculator")]
    shown = [parser.feed(token_id) for token_id in tokens(tokenizer, '{"expression": "1')]
    assert "".join(
        piece.arguments_text
        for pieces in shown
        for piece in pieces
        if isinstance(piece, ToolCallDelta)
    ) == ('{"expression": "1')


def test_properties_follow_the_stream(tokenizer: Tokenizer) -> None:
    parser = StreamParser(tokenizer, KIMI_K2, False, TOOLS)
    track = []
    for token_id in tokens(tokenizer, f"<think>r</think>{OPEN}{CALC}{CALL}"):
        parser.feed(token_id)
        track.append((parser.in_reasoning, parser.calls))
    assert track[0] == (True, 0)
    assert track[-1] == (False, 2)


def test_the_end_carries_what_was_written(tokenizer: Tokenizer) -> None:
    pieces = parse(tokenizer, tokens(tokenizer, f"{OPEN}{called('calculator ', 'null')}{CLOSE}"))
    (end,) = (piece for piece in pieces if isinstance(piece, ToolCallEnd))
    assert end.written == "calculator null"


def test_half_a_character_before_a_marker(tokenizer: Tokenizer) -> None:
    first_byte = "🌍".encode()[:1]
    half = next(i for i in range(256) if tokenizer.token_bytes(i) == first_byte)
    ids = [*tokens(tokenizer, "ok"), half, tokenizer.special["<think>"], *tokens(tokenizer, "r")]
    read = reading(parse(tokenizer, ids))
    assert (read.text, read.reasoning) == ("ok\ufffd", "r")


def test_tokens_past_the_vocabulary_are_reported(tokenizer: Tokenizer) -> None:
    read = reading(parse(tokenizer, [*tokens(tokenizer, "a"), tokenizer.vocab_size + 5]))
    assert read == Read("", "a", (), ("unknown_token",))


def test_a_tool_may_be_called_like_a_counter_or_contain_the_prefix(tokenizer: Tokenizer) -> None:
    schema: dict[str, Any] = {"type": "object"}
    tools = tuple(ToolSpec(name, schema) for name in ("42", "functions.odd", "a:b", "srv.do"))
    reply = "".join(
        called(header, "{}")
        for header in ("42", "functions.42:1", "functions.odd:2", "functions.a:b:3", "srv.do")
    )
    read = reading(parse(tokenizer, tokens(tokenizer, OPEN + reply + CLOSE), tools=tools))
    assert [call[1] for call in read.calls] == ["42", "42", "functions.odd", "a:b", "srv.do"]
    assert {call[3] for call in read.calls} == {None}


def test_deep_or_huge_arguments_are_only_invalid(tokenizer: Tokenizer) -> None:
    for raw in ('{"a":' + "[" * 20_000, '{"a": ' + "9" * 5_000 + "}"):
        reply = OPEN + called("functions.python:0", raw) + CLOSE
        (call,) = reading(parse(tokenizer, tokens(tokenizer, reply))).calls
        assert call[2:] == (raw, "invalid_arguments")


def test_a_vocabulary_without_the_markers_is_refused() -> None:
    bare = Tokenizer({bytes([value]): value for value in range(256)}, {"<|im_end|>": 256}, [256])
    with pytest.raises(CheckpointError, match="tool_call_begin"):
        StreamParser(bare, KIMI_K2, False)
