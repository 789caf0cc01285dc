"""What must hold for any sequence of tokens whatever."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.text.dialects.base import Dialect, Mark
from engine.text.pieces import (
    Piece,
    Problem,
    ReasoningDelta,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    ToolCallEnd,
)
from engine.text.stream_parser import StreamParser
from engine.text.tokenizer import Tokenizer
from engine.text.tool_call import StringEscaper, ToolSpec, escaped_controls

# Control tokens are named in private characters that no ordinary token here contains, so what a
# control token contributed can be told from what text spelled. The markers in plain text, which
# the vocabulary lacks, are the real ones.
SPELLED_OPEN, SPELLED_CLOSE = "<|tool_call_section_begin|>", "<|tool_call_section_end|>"
CONTROL = {
    "\ue000think\ue001": Mark.REASONING_OPEN,
    "\ue000/think\ue001": Mark.REASONING_CLOSE,
    "\ue000section\ue001": Mark.SECTION_OPEN,
    "\ue000/section\ue001": Mark.SECTION_CLOSE,
    "\ue000call\ue001": Mark.CALL_OPEN,
    "\ue000args\ue001": Mark.ARGUMENTS_OPEN,
    "\ue000/call\ue001": Mark.CALL_CLOSE,
}
DIALECT = Dialect(
    {**CONTROL, SPELLED_OPEN: Mark.SECTION_OPEN, SPELLED_CLOSE: Mark.SECTION_CLOSE}, "functions."
)
NAMES = [*CONTROL, "\ue000stray\ue001", "\ue000end\ue001"]
WORDS = [
    *(
        " ",
        "\n",
        "null",
        "nu",
        "ll",
        " and",
        "<|",
        "<|tool_call_",
        "<<|tool_",
        "section_",
        "begin|>",
        "end|>",
    ),
    *(SPELLED_OPEN, SPELLED_CLOSE, "functions.", "calc", ":", "0", "tool_call_1", "list", "x"),
    *('{"', '":', '"', "}", "{}", "\\", "1", '{"a": 1}', '"{\\"a\\": 1}"', "[", "]", "é", "你好"),
]
TOOLS = (
    ToolSpec("calc", {"type": "object", "properties": {"a": {"type": "integer"}}}),
    ToolSpec("list", {"type": "object", "properties": {}}),
)


def build() -> Tokenizer:
    ranks = {bytes([value]): value for value in range(256)}
    for word in WORDS:
        ranks.setdefault(word.encode(), len(ranks))
    control = {name: len(ranks) + offset for offset, name in enumerate(NAMES)}
    return Tokenizer(ranks, control, [control["\ue000end\ue001"]])


TOKENIZER = build()
SIZE = TOKENIZER.vocab_size
BY_BYTES = {TOKENIZER.token_bytes(token_id): token_id for token_id in range(SIZE)}
word_ids = [BY_BYTES[word.encode()] for word in WORDS]
token_ids = st.one_of(
    st.sampled_from([TOKENIZER.special[name] for name in NAMES]),
    st.sampled_from(word_ids),
    st.integers(0, SIZE + 2),
)
replies = st.lists(token_ids, max_size=40)


def run(ids: list[int], starts: bool, cause: str) -> list[Piece]:
    parser = StreamParser(TOKENIZER, DIALECT, starts, TOOLS, 3)
    pieces = [piece for token_id in ids for piece in parser.feed(token_id)]
    return pieces + parser.finish(cause)  # type: ignore[arg-type]


def visible(ids: list[int]) -> str:
    """The stream's text without its control tokens, each stretch decoded by itself."""
    segments: list[bytes] = [b""]
    for token_id in ids:
        if TOKENIZER.control_name(token_id) is not None:
            segments.append(b"")
        else:
            segments[-1] += TOKENIZER.token_bytes(token_id)
    return "".join(segment.decode("utf-8", "replace") for segment in segments)


def emitted(pieces: list[Piece]) -> str:
    """All text that came out, in order, control tokens taken as text inside calls left out."""
    texts: list[str] = []
    for piece in pieces:
        if isinstance(piece, ReasoningDelta | TextDelta | Problem):
            texts.append(piece.text)
        elif isinstance(piece, ToolCallEnd):
            texts.append(piece.written)
    return re.sub("\ue000.*?\ue001", "", "".join(texts))


def without_blanks(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("starts", [False, True])
@settings(max_examples=1500, deadline=None)
@given(ids=replies, cause=st.sampled_from(["stop", "length", "abort"]))
def test_no_tokens_at_all_lose_a_character(starts: bool, ids: list[int], cause: str) -> None:
    """Reasoning + answer + calls + reported text == the stream less control tokens.

    Only whitespace may go missing (at the edges of tool sections), nothing is doubled, moved or
    changed, and the order is the stream's.
    """
    pieces = run(ids, starts, cause)
    assert without_blanks(emitted(pieces)) == without_blanks(visible(ids))


@settings(max_examples=1000, deadline=None)
@given(ids=replies, cause=st.sampled_from(["stop", "length", "abort"]))
def test_pieces_keep_their_order_whatever_comes(ids: list[int], cause: str) -> None:
    open_call: ToolCallBegin | None = None
    arguments = ""
    calls = 0
    for piece in run(ids, False, cause):
        if isinstance(piece, ToolCallBegin):
            assert open_call is None and piece.index == calls
            assert piece.id == f"functions.{piece.name}:{calls + 3}"
            open_call, arguments, calls = piece, "", calls + 1
        elif isinstance(piece, ToolCallDelta):
            assert open_call is not None and piece.arguments_text
            arguments += piece.arguments_text
        elif isinstance(piece, ToolCallEnd):
            assert open_call == ToolCallBegin(piece.index, piece.id, piece.name)
            assert piece.arguments == arguments
            assert piece.problem in (None, "truncated", "unknown_tool", "invalid_arguments")
            if piece.problem is None:
                assert piece.name in ("calc", "list")
                assert isinstance(json.loads(piece.arguments), dict)
            open_call = None
        elif isinstance(piece, TextDelta | ReasoningDelta):
            assert open_call is None and piece.text
    assert open_call is None


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(word_ids) | st.integers(0, 255), max_size=30))
def test_text_without_control_tokens_comes_out_to_the_letter(ids: list[int]) -> None:
    text = visible(ids)
    # The one thing recognised in plain text is an empty section in the singular spelling.
    empty = re.search(rf"{re.escape(SPELLED_OPEN)}\s*{re.escape(SPELLED_CLOSE)}", text)
    if empty is None:
        reasoning = run(ids, True, "stop")
        assert "".join(p.text for p in reasoning if isinstance(p, ReasoningDelta)) == text
        answer = run(ids, False, "stop")
        shown = "".join(p.text for p in answer if isinstance(p, TextDelta))
        assert shown == (text if text.strip() else "")


@settings(max_examples=500, deadline=None)
@given(st.data(), replies, st.booleans())
def test_how_text_is_cut_into_tokens_makes_no_difference(
    data: st.DataObject, ids: list[int], starts: bool
) -> None:
    cut: list[int] = []
    for token_id in ids:
        whole = TOKENIZER.control_name(token_id) is not None or token_id >= SIZE
        if whole or data.draw(st.booleans()):
            cut.append(token_id)
        else:
            cut += [BY_BYTES[bytes([value])] for value in TOKENIZER.token_bytes(token_id)]
    assert merged(run(ids, starts, "stop")) == merged(run(cut, starts, "stop"))


def merged(pieces: list[Piece]) -> list[Piece]:
    out: list[Piece] = []
    for piece in pieces:
        last = out[-1] if out else None
        if isinstance(piece, ReasoningDelta) and isinstance(last, ReasoningDelta):
            out[-1] = ReasoningDelta(last.text + piece.text)
        elif isinstance(piece, TextDelta) and isinstance(last, TextDelta):
            out[-1] = TextDelta(last.text + piece.text)
        elif isinstance(piece, ToolCallDelta) and isinstance(last, ToolCallDelta):
            out[-1] = ToolCallDelta(last.index, last.arguments_text + piece.arguments_text)
        else:
            out.append(piece)
    return out


def test_a_marker_under_way_behind_what_only_looked_like_one() -> None:
    rest = [BY_BYTES[bytes([value])] for value in b"call_section_begin|>"]
    ids = [BY_BYTES[b"<<|tool_"], *rest, TOKENIZER.special["\ue000call\ue001"]]
    pieces = run(ids, False, "stop")
    assert pieces[0] == TextDelta("<")
    assert next(piece.text for piece in pieces if isinstance(piece, Problem)) == SPELLED_OPEN


@settings(max_examples=300)
@given(st.text('{}"\\an\n\t\x00', max_size=20), st.data())
def test_escaping_line_ends_does_not_depend_on_the_pieces(text: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text)))
    escaper = StringEscaper()
    assert escaper.push(text[:cut]) + escaper.push(text[cut:]) == escaped_controls(text)


@settings(max_examples=300)
@given(st.recursive(st.text() | st.integers() | st.none(), st.lists, max_leaves=5))
def test_strict_json_is_left_alone_and_loose_json_becomes_strict(value: object) -> None:
    strict = json.dumps({"a": value}, indent=1)
    assert escaped_controls(strict) == strict
    loose = strict.replace("\\n", "\n").replace("\\t", "\t")
    try:
        meant = json.loads(loose, strict=False)
    except ValueError:
        return  # the replacement tore an escaped backslash apart
    assert json.loads(escaped_controls(loose)) == meant
