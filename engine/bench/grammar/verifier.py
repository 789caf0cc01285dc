"""What must hold of a reply with tools: the checks of Moonshot's K2 vendor verifier, and more.

Theirs: arguments valid under their schemas, the finish reason that goes with what was written,
calls exactly where they were triggered. Besides: ids in order, no marker anywhere in text, and the
same whatever the tokens' borders.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jsonschema import ValidationError

from engine.bench.grammar.cases import Case
from engine.grammar.vocabulary import Vocabulary
from engine.protocol import FinishReason
from engine.text.dialects.kimi_k2 import KIMI_K2
from engine.text.pieces import Piece, Problem, ReasoningDelta, TextDelta, ToolCallEnd
from engine.text.stream_parser import StreamParser
from engine.text.tokenizer import Tokenizer
from engine.text.tool_call import ToolSpec
from engine.validity import validate

_LONGEST = 12
"""Bytes of a token when a reply is cut anew."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A reply that ended: tokens, what was made of them, why it ended."""

    ids: tuple[int, ...]
    pieces: tuple[Piece, ...]
    reason: FinishReason
    in_reasoning: bool
    """Whether it began there."""

    @property
    def calls(self) -> list[ToolCallEnd]:
        """Those that came to their end."""
        return [p for p in self.pieces if isinstance(p, ToolCallEnd) and p.problem != "truncated"]

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(p.text for p in self.pieces if isinstance(p, TextDelta))

    @property
    def cut(self) -> bool:
        """Whether its limit ended it."""
        return self.reason == "length"


def schema_faults(case: Case, outcome: Outcome) -> Iterator[str]:
    """Of complete calls that cannot be run."""
    for call in outcome.calls:
        if call.problem is not None:
            yield f"{call.name}: {call.problem}"
            continue
        try:
            validate(json.loads(call.arguments), case.tools[call.name])
        except (ValidationError, ValueError) as error:
            yield f"{call.name}: {str(error).splitlines()[0]}"


def other_faults(
    case: Case, outcome: Outcome, tokenizer: Tokenizer, vocabulary: Vocabulary, draw: random.Random
) -> Iterator[str]:
    """Of reason and trigger, of ids, markers and format, and of cuts between tokens."""
    yield from _trigger_faults(case, outcome)
    yield from _format_faults(case, outcome)
    parser = StreamParser(
        tokenizer,
        KIMI_K2,
        outcome.in_reasoning,
        [ToolSpec(name, schema) for name, schema in case.tools.items()],
        case.first_call,
    )
    pieces: list[Piece] = []
    for token_id in _cut_anew(outcome.ids, tokenizer, vocabulary, draw):
        pieces += parser.feed(token_id)
    pieces += parser.finish("length" if outcome.cut else "stop")
    if _meaning(pieces) != _meaning(outcome.pieces):
        yield "other tokens of the same text mean something else"


def _trigger_faults(case: Case, outcome: Outcome) -> Iterator[str]:
    calls = outcome.calls
    if case.choice == "none" and calls:
        yield "no call was allowed"
    if outcome.cut:
        return
    if (outcome.reason == "tool_calls") != bool(calls):
        yield f"it ended with {outcome.reason} after {len(calls)} calls"
    if case.choice not in ("auto", "none") and (outcome.text or not calls):
        yield "a call was required"
    if not calls and not outcome.text:
        yield "neither answer nor call"


def _format_faults(case: Case, outcome: Outcome) -> Iterator[str]:
    calls = outcome.calls
    for i, call in enumerate(calls):
        if call.id != f"functions.{call.name}:{case.first_call + i}":
            yield f"the id {call.id} at place {i}"
    thought = "".join(p.text for p in outcome.pieces if isinstance(p, ReasoningDelta))
    texts = (thought, outcome.text, *(call.arguments for call in calls))
    yield from (f"{m} in the text" for m in KIMI_K2.markers if any(m in text for text in texts))
    for piece in outcome.pieces:
        if isinstance(piece, Problem) and piece.code != "truncated":
            yield f"{piece.code}: {piece.message}"


def _cut_anew(
    ids: Sequence[int], tokenizer: Tokenizer, vocabulary: Vocabulary, draw: random.Random
) -> Iterator[int]:
    """The same bytes and control tokens in other tokens."""
    known, text = vocabulary.ids, b""
    for token_id in (*ids, None):
        if token_id is not None and tokenizer.control_name(token_id) is None:
            text += tokenizer.token_bytes(token_id)
            continue
        while text:
            ends = [n for n in range(1, min(len(text), _LONGEST) + 1) if text[:n] in known]
            end = draw.choice(ends)
            yield known[text[:end]]
            text = text[end:]
        if token_id is not None:
            yield token_id


def _meaning(pieces: Sequence[Piece]) -> tuple[str, str, list[tuple[str, str]]]:
    return (
        "".join(p.text for p in pieces if isinstance(p, ReasoningDelta)),
        "".join(p.text for p in pieces if isinstance(p, TextDelta)),
        [(p.id, p.arguments) for p in pieces if isinstance(p, ToolCallEnd)],
    )
