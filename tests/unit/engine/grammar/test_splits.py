"""However a reply is cut into tokens, the same comes of it, and no marker shows."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.text import tool_call
from engine.text.dialects.kimi_k2 import KIMI_K2
from engine.text.pieces import Piece, ReasoningDelta, TextDelta, ToolCallDelta, ToolCallEnd
from engine.text.stream_parser import StreamParser

from .schemas import SCHEMAS
from .writing import Pen

TOOLS = {"find": SCHEMAS["unicode"], "set": SCHEMAS["enums"]}


def other_tokens(pen: Pen, ids: Sequence[int], draw: random.Random) -> Iterator[int]:
    """The same bytes and control tokens, cut elsewhere."""
    known = pen.grammars.vocabulary.ids
    text = b""
    for token_id in (*ids, -1):
        if token_id >= 0 and pen.tokenizer.control_name(token_id) is None:
            text += pen.tokenizer.token_bytes(token_id)
            continue
        while text:
            ends = [end for end in range(1, min(len(text), 12) + 1) if text[:end] in known]
            end = draw.choice(ends)
            yield known[text[:end]]
            text = text[end:]
        if token_id >= 0:
            yield token_id


def meaning(pieces: Sequence[Piece]) -> tuple[str, str, list[tuple[str, str]], list[str]]:
    """Reasoning, answer, calls, and the arguments as they came."""
    parts: dict[int, str] = {}
    for p in pieces:
        if isinstance(p, ToolCallDelta):
            parts[p.index] = parts.get(p.index, "") + p.arguments_text
    return (
        "".join(p.text for p in pieces if isinstance(p, ReasoningDelta)),
        "".join(p.text for p in pieces if isinstance(p, TextDelta)),
        [(p.id, p.arguments) for p in pieces if isinstance(p, ToolCallEnd)],
        list(parts.values()),
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), cuts=st.integers(0, 2**32), in_reasoning=st.booleans())
def test_cuts_between_tokens_do_not_matter(
    pen: Pen, seed: int, cuts: int, in_reasoning: bool
) -> None:
    written = pen.write(pen.rules(TOOLS), seed, in_reasoning=in_reasoning, most=150)
    tools = [tool_call.ToolSpec(name, {}) for name in TOOLS]
    parser = StreamParser(pen.tokenizer, KIMI_K2, in_reasoning, tools)
    pieces: list[Piece] = []
    for token_id in other_tokens(pen, written.ids, random.Random(cuts)):
        pieces += parser.feed(token_id)
    pieces += parser.finish("stop" if written.ended else "length")
    again, first = meaning(pieces), meaning(written.pieces)
    assert again == first
    assert [arguments for _, arguments in again[2]] == again[3]
