"""Every departure models are known to make, over every cut of its bytes into tokens."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from engine.errors import CheckpointError
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


def cuts(tokenizer: Tokenizer, reply: str) -> Iterator[list[int]]:
    """The reply's usual tokens, single bytes, and every cut of the bytes in two."""
    usual = tokens(tokenizer, reply)
    control = set(tokenizer.special.values())
    single = {tokenizer.token_bytes(token_id): token_id for token_id in range(256)}
    yield usual
    in_bytes: list[int] = []
    for token_id in usual:
        data = tokenizer.token_bytes(token_id)
        in_bytes += [token_id] if token_id in control else [single[bytes([b])] for b in data]
    yield in_bytes
    for cut in range(1, len(in_bytes)):
        yield [
            token_id
            for half in (in_bytes[:cut], in_bytes[cut:])
            for token_id in retokenised(tokenizer, half, control)
        ]


def retokenised(tokenizer: Tokenizer, ids: list[int], control: set[int]) -> list[int]:
    """The same bytes in the tokens the vocabulary would choose, torn characters left as bytes."""
    out: list[int] = []
    run: list[int] = []
    for token_id in [*ids, -1]:
        if token_id >= 0 and token_id not in control:
            run.append(token_id)
            continue
        data = b"".join(map(tokenizer.token_bytes, run))
        try:
            out += tokenizer.encode(data.decode())
        except UnicodeDecodeError:
            out += run
        run = []
        if token_id >= 0:
            out.append(token_id)
    return out


def ok(number: int, name: str, arguments: str) -> tuple[str, str, str, None]:
    return (f"functions.{name}:{number}", name, arguments, None)


ONE = (ok(0, "calculator", CALC_ARGS),)
EMITTED: dict[str, tuple[str, Read]] = {
    "plain answer": ("Hello 你好 🌍!\n\nMore.", Read("", "Hello 你好 🌍!\n\nMore.", (), ())),
    "reasoning and answer": (
        "<think> Let me\nthink. </think>The answer.\n<|im_end|>",
        Read(" Let me\nthink. ", "The answer.\n", (), ()),
    ),
    "reasoning, call": (
        f"<think>Use it.</think>{OPEN}{CALC}{CLOSE}<|im_end|>",
        Read("Use it.", "", ONE, ()),
    ),
    "reasoning, text, call": (
        f"<think>Use it.</think>Let me see. \n{OPEN}{CALC}{CLOSE}",
        Read("Use it.", "Let me see.", ONE, ()),
    ),
    "blanks between the markers": (
        f"<think>r</think>\n\n{OPEN}\n {CALC}\n\n{CLOSE}\n<|im_end|>",
        Read("r", "", ONE, ()),
    ),
    "section straight out of reasoning": (
        f"<think>Use it.{OPEN}{CALC}{CLOSE}",
        Read("Use it.", "", ONE, ()),
    ),
    "singular section markers": (
        f"<think>r</think>Now.\n«{OPEN_1}»{CALC}«{CLOSE_1}»",
        Read("r", "Now.", ONE, ("spelled_marker", "spelled_marker")),
    ),
    "singular section markers out of reasoning": (
        f"<think>r «{OPEN_1}»\n{CALC}\n«{CLOSE_1}»\n",
        Read("r ", "", ONE, ("spelled_marker", "spelled_marker")),
    ),
    "singular opening, plural closing": (
        f"<think>r</think>«{OPEN_1}»{CALC}{CLOSE}",
        Read("r", "", ONE, ("spelled_marker",)),
    ),
    "empty section in singular markers": (
        f"Well. «{OPEN_1}» «{CLOSE_1}»",
        Read("", "Well.", (), ("spelled_marker", "spelled_marker", "empty_section")),
    ),
    "doubled singular end": (
        f"{OPEN}{CALC}{CLOSE} «{CLOSE_1}»",
        Read("", "", ONE, ("spelled_marker", "stray_marker")),
    ),
    "call without section": (
        f"<think>r</think>Now. {CALC}<|im_end|>",
        Read("r", "Now.", ONE, ("missing_section",)),
    ),
    "call without section out of reasoning": (
        f"<think>r{CALC}",
        Read("r", "", ONE, ("missing_section",)),
    ),
    "several calls": (
        OPEN + CALC + called("functions.read_file:1", '{"path": "a.txt"}') + CLOSE,
        Read("", "", (*ONE, ok(1, "read_file", '{"path": "a.txt"}')), ()),
    ),
    "a blank after the id": (
        OPEN + called("functions.calculator:0 ", CALC_ARGS) + CLOSE,
        Read("", "", ONE, ("id_repaired",)),
    ),
    "line ends around the id": (
        OPEN + called("\nfunctions.calculator:0\n", f"\n{CALC_ARGS}\n") + CLOSE,
        Read("", "", ONE, ("id_repaired",)),
    ),
    "id without functions.": (
        OPEN + called("calculator:0", CALC_ARGS) + CLOSE,
        Read("", "", ONE, ("id_repaired",)),
    ),
    "id without number": (
        OPEN + called("functions.calculator", CALC_ARGS) + CLOSE,
        Read("", "", ONE, ("id_repaired",)),
    ),
    "id with a number already used": (
        OPEN + CALC + CALC + CLOSE,
        Read("", "", (*ONE, ok(1, "calculator", CALC_ARGS)), ("id_repaired",)),
    ),
    "bare counter, one tool fits": (
        OPEN + called("0", CALC_ARGS) + called("tool_call_1", '{"code": "1"}') + CLOSE,
        Read("", "", (*ONE, ok(1, "python", '{"code": "1"}')), ("id_repaired",) * 2),
    ),
    "no id, one tool fits": (
        OPEN + called("", CALC_ARGS) + CLOSE,
        Read("", "", ONE, ("id_repaired",)),
    ),
    "bare counter, one tool fits by types": (
        OPEN + called("functions.0", '{"path": "a", "start": 1}') + CLOSE,
        Read("", "", (ok(0, "read_file", '{"path": "a", "start": 1}'),), ("id_repaired",)),
    ),
    "bare counter, two tools fit": (
        OPEN + called("0", '{"path": "a"}') + CLOSE,
        Read("", "", (("functions.0:0", "0", '{"path": "a"}', "unknown_tool"),), ("id_repaired",)),
    ),
    "bare counter, none fits": (
        OPEN + called("tool_call_1", '{"x": 1}') + CLOSE,
        Read(
            "",
            "",
            (("functions.tool_call_1:0", "tool_call_1", '{"x": 1}', "unknown_tool"),),
            ("id_repaired",),
        ),
    ),
    "arguments as a JSON string of JSON": (
        OPEN + called("functions.calculator:0", json.dumps(CALC_ARGS)) + CLOSE,
        Read("", "", ONE, ("arguments_repaired",)),
    ),
    "arguments over several lines": (
        OPEN + called("functions.calculator:0", '\n{\n  "expression":\t"1+1"\n}\n') + CLOSE,
        Read("", "", (ok(0, "calculator", '{\n  "expression":\t"1+1"\n}'),), ()),
    ),
    "raw line ends in a string": (
        OPEN + called("functions.python:0", '{"code": "a = \\"1\\"\n\tb = 2 \\\n"}') + CLOSE,
        Read(
            "",
            "",
            (ok(0, "python", '{"code": "a = \\"1\\"\\n\\tb = 2 \\\\\\n"}'),),
            ("arguments_repaired",),
        ),
    ),
    "markup in a string": (
        OPEN + called("functions.python:0", '{"code": "<div>\\n</div> 你好"}') + CLOSE,
        Read("", "", (ok(0, "python", '{"code": "<div>\\n</div> 你好"}'),), ()),
    ),
    "marker text in a string": (
        OPEN
        + called(
            "functions.python:0",
            f'{{"code": "«{END}{CLOSE}</think>{OPEN_1}{CLOSE_1}<|im_end|>»"}}',
        )
        + CLOSE,
        Read(
            "",
            "",
            (
                ok(
                    0,
                    "python",
                    f'{{"code": "{END}{CLOSE}</think>{OPEN_1}{CLOSE_1}<|im_end|>"}}',
                ),
            ),
            (),
        ),
    ),
    "think tokens in a string": (
        OPEN + called("functions.python:0", '{"code": "<think></think>"}') + CLOSE,
        Read("", "", (ok(0, "python", '{"code": "<think></think>"}'),), ("marker_in_call",) * 2),
    ),
    "empty arguments": (
        OPEN
        + called("functions.list_files:0", "")
        + called("functions.list_files:1", " \n")
        + CLOSE,
        Read(
            "",
            "",
            (ok(0, "list_files", "{}"), ok(1, "list_files", "{}")),
            ("arguments_repaired",) * 2,
        ),
    ),
    "null, and a string of nothing, as arguments": (
        OPEN + called("functions.list_files:0", "null") + called("list_files:1", '""') + CLOSE,
        Read(
            "",
            "",
            (ok(0, "list_files", "{}"), ok(1, "list_files", "{}")),
            ("arguments_repaired", "id_repaired", "arguments_repaired"),
        ),
    ),
    "no argument marker": (
        f"{OPEN}{CALL}functions.list_files:0{END}{CALL}functions.calculator:1{CALC_ARGS}{END}{CLOSE}",
        Read(
            "",
            "",
            (ok(0, "list_files", "{}"), ok(1, "calculator", CALC_ARGS)),
            ("missing_argument_marker", "arguments_repaired", "missing_argument_marker"),
        ),
    ),
    "invalid arguments": (
        OPEN + called("functions.calculator:0", '{"expression": 1+1}') + CLOSE,
        Read(
            "",
            "",
            (
                (
                    "functions.calculator:0",
                    "calculator",
                    '{"expression": 1+1}',
                    "invalid_arguments",
                ),
            ),
            (),
        ),
    ),
    "arguments that are no object": (
        OPEN + called("functions.calculator:0", "[1, 2]") + CLOSE,
        Read(
            "", "", (("functions.calculator:0", "calculator", "[1, 2]", "invalid_arguments"),), ()
        ),
    ),
    "arguments with NaN": (
        OPEN + called("functions.calculator:0", '{"expression": NaN}') + CLOSE,
        Read(
            "",
            "",
            (("functions.calculator:0", "calculator", '{"expression": NaN}', "invalid_arguments"),),
            (),
        ),
    ),
    "noise between calls": (
        f"{OPEN} and {CALC} then {called('functions.calculator:1', CALC_ARGS)}{CLOSE}",
        Read("", " and then", (*ONE, ok(1, "calculator", CALC_ARGS)), ("text_in_section",) * 2),
    ),
    "text after the section": (
        f"{OPEN}{CALC}{CLOSE}\nThat is all.<|im_end|>",
        Read("", "\nThat is all.", ONE, ("text_after_calls",)),
    ),
    "text after the section, in two pieces": (
        f"{OPEN}{CALC}{CLOSE}a<|im_user|>b<|im_user|> <|im_end|>",
        Read("", "ab ", ONE, ("text_after_calls", "stray_marker", "stray_marker")),
    ),
    "doubled section end": (
        f"{OPEN}{CALC}{CLOSE}{CLOSE}<|im_end|>",
        Read("", "", ONE, ("stray_marker",)),
    ),
    "doubled section begin": (
        f"{OPEN}{OPEN}{CALC}{CLOSE}",
        Read("", "", ONE, ("stray_marker",)),
    ),
    "null before the section": (
        f"<think>r</think>null{OPEN}{CALC}{CLOSE}",
        Read("r", "", ONE, ("null_before_call",)),
    ),
    "null before a call": (
        f"{OPEN}null\n{CALC} null {called('functions.calculator:1', CALC_ARGS)}{CLOSE}",
        Read("", "", (*ONE, ok(1, "calculator", CALC_ARGS)), ("null_before_call",) * 2),
    ),
    "null as the answer": ("<think>r</think>null", Read("r", "null", (), ())),
    "an answer that begins like null": ("nullify it", Read("", "nullify it", (), ())),
    "empty section": (
        f"<think>r</think>Done.{OPEN}\n{CLOSE}",
        Read("r", "Done.", (), ("empty_section",)),
    ),
    "empty call": (
        f"{OPEN}{CALL} {END}{CALC}{CLOSE}",
        Read("", "", ONE, ("empty_call",)),
    ),
    "call without its end, then another": (
        f"{OPEN}{CALL}functions.calculator:0{ARGS}{CALC_ARGS}"
        f"{called('functions.calculator:1', CALC_ARGS)}{CLOSE}",
        Read("", "", (*ONE, ok(1, "calculator", CALC_ARGS)), ("missing_call_end",)),
    ),
    "call without its end, then the section's": (
        f"{OPEN}{CALL}functions.calculator:0{ARGS}{CALC_ARGS}{CLOSE}",
        Read("", "", ONE, ("missing_call_end",)),
    ),
    "call without its end, then the reply's": (
        f"{OPEN}{CALL}functions.calculator:0{ARGS}{CALC_ARGS}<|im_end|>",
        Read("", "", ONE, ("missing_call_end",)),
    ),
    "section without its end": (
        f"{OPEN}{CALC}<|im_end|>",
        Read("", "", ONE, ("section_not_closed",)),
    ),
    "reasoning only": ("<think>Hm.<|im_end|>", Read("Hm.", "", (), ("no_answer",))),
    "ends at the end of reasoning": (
        "<think>Hm.</think>\n<|im_end|>",
        Read("Hm.", "", (), ("no_answer",)),
    ),
    "nothing at all": ("<|im_end|>", Read("", "", (), ("no_answer",))),
    "hallucinated tool": (
        OPEN + called("functions.web_search:0", '{"q": "x"}') + CLOSE,
        Read("", "", (("functions.web_search:0", "web_search", '{"q": "x"}', "unknown_tool"),), ()),
    ),
    "text that only looks like a marker": (
        "see «<|tool_calls» and «<|tool_call_section_beg» end, «<|tool_call_begin|>» too, <| <",
        Read(
            "",
            "see <|tool_calls and <|tool_call_section_beg end, <|tool_call_begin|> too, <| <",
            (),
            (),
        ),
    ),
    "a singular marker that is only mentioned": (
        f"<think>The marker «{OPEN_1}» opens it.</think>Write «{OPEN_1}» and «{CLOSE_1}».",
        Read(f"The marker {OPEN_1} opens it.", f"Write {OPEN_1} and {CLOSE_1}.", (), ()),
    ),
    "a mentioned marker at the very end": (
        f"It is «{OPEN_1}»\n<|im_end|>",
        Read("", f"It is {OPEN_1}\n", (), ()),
    ),
    "reasoning twice": (
        "<think>a</think>b <think>c</think> d",
        Read("ac", "b  d", (), ()),
    ),
    "stray markers": (
        f"a </think>b{ARGS}c{END}d{CLOSE}e<|im_user|>f<|reserved_token_5|>",
        Read("", "a bcdef", (), ("stray_marker",) * 6),
    ),
    "reasoning begun twice": ("<think>a<think>b</think>c", Read("ab", "c", (), ("stray_marker",))),
    "reasoning inside the section": (
        f"{OPEN}{CALC}<think>hm</think>ok",
        Read("hm", "ok", ONE, ("section_not_closed",)),
    ),
}


def renamed_reserved(tokenizer: Tokenizer, reply: str) -> str:
    reserved = next(name for name in tokenizer.special if name.startswith("<|reserved_token_"))
    return reply.replace("<|reserved_token_5|>", reserved)


@pytest.mark.parametrize("case", EMITTED)
def test_what_models_really_emit(tokenizer: Tokenizer, case: str) -> None:
    reply, expected = EMITTED[case]
    reply = renamed_reserved(tokenizer, reply)
    for ids in cuts(tokenizer, reply):
        assert reading(parse(tokenizer, ids)) == expected, ids


@pytest.mark.parametrize("case", EMITTED)
def test_a_reply_cut_short_anywhere_says_so(tokenizer: Tokenizer, case: str) -> None:
    ids = tokens(tokenizer, renamed_reserved(tokenizer, EMITTED[case][0]))
    for length in range(len(ids)):
        read = reading(parse(tokenizer, ids[:length], cause="length"))
        told = ["truncated" in read.problems, *(call[3] == "truncated" for call in read.calls)]
        assert told.count(True) == 1
        assert "no_answer" not in read.problems


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
