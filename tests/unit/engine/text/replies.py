"""Replies in Kimi K2's markers, and what the parser makes of them."""

import json
from dataclasses import dataclass

from engine.text.dialects.kimi_k2 import KIMI_K2
from engine.text.pieces import (
    Piece,
    Problem,
    ReasoningDelta,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    ToolCallEnd,
)
from engine.text.stream_parser import FinishCause, StreamParser
from engine.text.tokenizer import Tokenizer
from engine.text.tool_call import ToolSpec

TOOLS = (
    ToolSpec(
        "calculator",
        {
            "type": "object",
            "properties": {"expression": {"type": "string"}},
            "required": ["expression"],
        },
    ),
    ToolSpec(
        "read_file",
        {
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "start": {"type": "integer"},
                "lines": {"type": "integer"},
            },
            "required": ["path"],
        },
    ),
    ToolSpec("list_files", {"type": "object", "properties": {"path": {"type": "string"}}}),
    ToolSpec(
        "python",
        {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
    ),
)

OPEN, CLOSE = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
OPEN_1, CLOSE_1 = "<|tool_call_section_begin|>", "<|tool_call_section_end|>"
CALL, ARGS, END = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"


def called(header: str, arguments: str) -> str:
    return f"{CALL}{header}{ARGS}{arguments}{END}"


CALC = called("functions.calculator:0", '{"expression": "1+1"}')
CALC_ARGS = '{"expression": "1+1"}'


@dataclass(frozen=True)
class Read:
    """What came out of a reply, calls as (id, name, arguments, problem)."""

    reasoning: str
    text: str
    calls: tuple[tuple[str, str, str, str | None], ...]
    problems: tuple[str, ...]


def reading(pieces: list[Piece]) -> Read:
    check_protocol(pieces)
    return Read(
        "".join(piece.text for piece in pieces if isinstance(piece, ReasoningDelta)),
        "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)),
        tuple(
            (piece.id, piece.name, piece.arguments, piece.problem)
            for piece in pieces
            if isinstance(piece, ToolCallEnd)
        ),
        tuple(piece.code for piece in pieces if isinstance(piece, Problem)),
    )


def check_protocol(pieces: list[Piece]) -> None:
    """Begin, deltas, end for each call, one call after another, deltas adding up."""
    index = -1
    begun: ToolCallBegin | None = None
    arguments = ""
    for piece in pieces:
        if isinstance(piece, ToolCallBegin):
            assert begun is None
            index, begun, arguments = index + 1, piece, ""
            assert piece.index == index
        elif isinstance(piece, ToolCallDelta):
            assert begun is not None and piece.index == index and piece.arguments_text
            arguments += piece.arguments_text
        elif isinstance(piece, ToolCallEnd):
            assert begun == ToolCallBegin(piece.index, piece.id, piece.name)
            assert piece.arguments == arguments
            if piece.problem is None:
                assert isinstance(json.loads(piece.arguments), dict)
            begun = None
        elif isinstance(piece, TextDelta | ReasoningDelta):
            assert begun is None and piece.text
    assert begun is None


def parse(
    tokenizer: Tokenizer,
    ids: list[int],
    *,
    reasoning: bool = False,
    cause: FinishCause = "stop",
    first: int = 0,
    tools: tuple[ToolSpec, ...] = TOOLS,
) -> list[Piece]:
    parser = StreamParser(tokenizer, KIMI_K2, reasoning, tools, first)
    pieces = [piece for token_id in ids for piece in parser.feed(token_id)]
    return pieces + parser.finish(cause)


def tokens(tokenizer: Tokenizer, reply: str) -> list[int]:
    """Markers become control tokens, except what stands between « and »."""
    parts = [part for piece in reply.split("«") for part in piece.split("»")]
    ids: list[int] = []
    for number, part in enumerate(parts):
        ids += tokenizer.encode(part) if number % 2 else tokenizer.encode_template(part)
    return ids


def ok(number: int, name: str, arguments: str) -> tuple[str, str, str, None]:
    return (f"functions.{name}:{number}", name, arguments, None)


ONE = (ok(0, "calculator", CALC_ARGS),)
