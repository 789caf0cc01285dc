"""Markers that a server lets through as text: never shown, and what they mean is kept."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backends import base
from app.backends.leaks import Leaks, parsed
from app.backends.openai_http import OpenAIBackend
from engine.protocol import ChatMessage
from tests.unit.app.backends.served import reply, serving, sse

Event = base.BackendEvent
Said = tuple[str, str, list[tuple[str, str]], str, list[str]]


def said(events: Iterable[Event]) -> Said:
    """Reasoning, answer, calls, the reason it ended, and problems."""
    thought, answer, reason = "", "", ""
    calls: list[tuple[str, str]] = []
    problems = []
    for event in events:
        match event:
            case base.ReasoningDelta(text):
                thought += text
            case base.TextDelta(text):
                answer += text
            case base.CallBegin(_, _, name):
                calls.append((name, ""))
            case base.CallDelta(_, text):
                calls[-1] = (calls[-1][0], calls[-1][1] + text)
            case base.Problem(code, _):
                problems.append(code)
            case base.Finished(reason):
                pass
    return thought, answer, calls, reason, problems


def through(events: Sequence[Event], reason: str = "stop") -> Said:
    leaks = Leaks()
    return said(made for e in (*events, base.Finished(reason)) for made in leaks.read(e))


def call(name: str, arguments: str, end: str = "<|tool_call_end|>") -> str:
    return f"<|tool_call_begin|>{name}<|tool_call_argument_begin|>{arguments}{end}"


def section(*calls: str, s: str = "s") -> str:
    return f"<|tool_call{s}_section_begin|>{''.join(calls)}<|tool_call{s}_section_end|>"


ECHO = call("functions.echo:0", '{"x": "1"}')
MADE = [("echo", '{"x": "1"}')]


@pytest.mark.parametrize(
    ("text", "answer", "calls"),
    [
        ("plain", "plain", []),
        ("a < b, <|x|>, <|tool", "a < b, <|x|>, <|tool", []),
        (section(ECHO), "", MADE),
        (section(ECHO, s=""), "", MADE),
        ("Well.\n\n" + section(ECHO) + "<|im_end|>", "Well.", MADE),
        (ECHO, "", MADE),
        ("I look. " + section(ECHO, call("echo", "{}")) + " Then.", "I look. Then.",
         [*MADE, ("echo", "{}")]),
        (section(call(" functions.echo:12 \n", ' {"x":\n"1"} ')), "", [("echo", '{"x":\n"1"}')]),
        (section(call("echo:0", "")), "", [("echo", "{}")]),
        (section(call("echo", json.dumps('{"x": "1"}'))), "", MADE),
        (section(call("echo", '{"x": "<|tool_call_end|> \\" <think>"}')), "",
         [("echo", '{"x": "<|tool_call_end|> \\" <think>"}')]),
        (section(), "", []),
        ("<|tool_call_end|>", "", []),
        # What is no call becomes one that cannot be made.
        (section(call("echo", '{"x": ')), "", [("echo", '{"x":')]),
        (section(call("echo", '{"x": "1')) + " Well.", " Well.", [("echo", '{"x": "1')]),
        (section("<|tool_call_begin|>echo<|tool_call_end|>"), "", [("echo", "{}")]),
        (section(call("", '{"x": "1"}')), "", [("unnamed", '{"x": "1"}')]),
        (section(call("echo", '{"x": "1"}', end=""), ECHO), "", [*MADE, *MADE]),
        ("<|tool_calls_section_begin|>" + ECHO[:-20], "", [("echo", '{"x": "')]),
        # What is text about the format.
        (f"It writes `{ECHO}`.", f"It writes `{ECHO}`.", []),
        (f"```\n{section(ECHO)}\n```\nSo.", f"```\n{section(ECHO)}\n```\nSo.", []),
        ("A <think> in the text", "A <think> in the text", []),
    ],
)  # fmt: skip
def test_an_answer_with_markers(text: str, answer: str, calls: list[tuple[str, str]]) -> None:
    for size in (1, 3, 1000):
        pieces = [base.TextDelta(text[i : i + size]) for i in range(0, len(text), size)]
        _, shown, made, reason, problems = through(pieces)
        assert (shown, made) == (answer, calls)
        assert reason == ("tool_calls" if calls else "stop")
        assert ("leaked_markers" in problems) == (shown != text)


def test_reasoning_in_marks_of_its_own() -> None:
    text = "<think>\nHm, <|tool.</think>\n\nSo."
    thought, answer, *_ = through([base.TextDelta(piece) for piece in text])
    assert (thought, answer) == ("\nHm, <|tool.", "So.")


def test_calls_in_the_reasoning_and_straight_out_of_it() -> None:
    for events in (
        [base.ReasoningDelta("Hm. " + section(ECHO)), base.TextDelta("So.")],
        [base.TextDelta("<think>Hm. " + section(ECHO) + "So.")],
    ):
        thought, answer, calls, reason, _ = through(events)
        assert (thought, answer, calls, reason) == ("Hm.", "So.", MADE, "tool_calls")


def test_a_call_told_twice_is_one() -> None:
    own = [base.CallBegin(0, "", "echo"), base.CallDelta(0, '{"x":"1"}')]
    *_, calls, reason, problems = through([base.TextDelta(section(ECHO)), *own], "tool_calls")
    assert (calls, reason, problems) == (
        [("echo", '{"x":"1"}')], "tool_calls", ["leaked_markers"],
    )  # fmt: skip
    *_, calls, _, _ = through([base.TextDelta(section(call("echo", '{"x": "2"}'))), *own])
    assert calls == [("echo", '{"x":"1"}'), ("echo", '{"x": "2"}')]


_MARKERS = (
    "<|tool_calls_section_begin|>", "<|tool_call_section_end|>", "<|tool_calls_section_end|>",
    "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>", "<|im_end|>",
)  # fmt: skip
_ODD = st.sampled_from(
    [*_MARKERS, "<think>", "</think>", "<", "<|tool", "<|tool_call", "|>", "`", '"', "\\", " ",
     "\n", "functions.echo:1", '{"x": "1"}', "{", "So.", "```"]
)  # fmt: skip
_NOISE = st.lists(_ODD | st.text(max_size=3), max_size=12).map("".join)


def _cut(text: str, cuts: list[int]) -> list[str]:
    at = sorted({cut % (len(text) + 1) for cut in cuts} | {0, len(text)})
    return [text[a:b] for a, b in itertools.pairwise(at)]


@given(_NOISE, _NOISE, st.lists(st.integers(0, 10_000), max_size=30))
def test_the_same_however_it_is_cut(thought: str, answer: str, cuts: list[int]) -> None:
    whole = through([base.ReasoningDelta(thought), base.TextDelta(answer)])
    pieces: list[Event] = [base.ReasoningDelta(piece) for piece in _cut(thought, cuts)]
    pieces += [base.TextDelta(piece) for piece in _cut(answer, cuts)]
    assert through(pieces) == whole


_PLAIN = st.text(st.characters(exclude_characters="<`'\"„“«"), max_size=20)
_ARGUMENTS = st.dictionaries(
    st.text(max_size=5), st.text(max_size=9) | st.integers() | st.sampled_from(_MARKERS), max_size=3
)
_NAME = st.from_regex(r"\A[a-z_]{1,12}\Z")


@given(
    _PLAIN,
    st.lists(st.tuples(_NAME, _ARGUMENTS), min_size=1, max_size=4),
    _PLAIN,
    st.booleans(),
    st.lists(st.integers(0, 10_000), max_size=40),
)
def test_calls_and_texts_are_kept_and_no_marker_is_shown(
    before: str,
    wanted: list[tuple[str, dict[str, object]]],
    after: str,
    thinks: bool,
    cuts: list[int],
) -> None:
    calls = [
        call(f"functions.{name}:{i}", json.dumps(arguments, ensure_ascii=False))
        for i, (name, arguments) in enumerate(wanted)
    ]
    text = before + section(*calls) + after
    kind = base.ReasoningDelta if thinks else base.TextDelta
    thought, answer, made, reason, problems = through([kind(piece) for piece in _cut(text, cuts)])
    assert [(name, json.loads(told)) for name, told in made] == wanted
    shown = thought if thinks else answer
    assert shown.strip() == (before.rstrip() + after).strip()
    assert not any(marker in shown for marker in _MARKERS)
    assert (reason, problems) == ("tool_calls", ["leaked_markers"])


@given(st.text(max_size=60), st.lists(st.integers(0, 10_000), max_size=20))
def test_other_text_comes_through_untouched(text: str, cuts: list[int]) -> None:
    thought, answer, *rest = through([base.TextDelta(piece) for piece in _cut(text, cuts)])
    assert (thought, answer, rest) == ("", text, [[], "stop", []])


def chunk(**delta: str) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": delta}]}


@pytest.mark.parametrize("ours", [False, True])
async def test_over_http_only_others_texts_are_read_again(ours: bool) -> None:
    text = "Well. " + section(ECHO)
    pieces = [chunk(content=text[i : i + 5]) for i in range(0, len(text), 5)]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    async with serving(reply(sse(*pieces, end))) as server:
        backend = OpenAIBackend(f"http://127.0.0.1:{server.port}/v1", "key", "there", ours)
        request = base.ModelRequest((ChatMessage("user", "go"),))
        _, answer, calls, _, problems = said([event async for event in backend.stream(request)])
        await backend.close()
    assert (answer, calls) == ((text, []) if ours else ("Well.", MADE))
    assert problems == ([] if ours else ["leaked_markers"])


async def test_leaving_closes_the_stream_beneath() -> None:
    closed = False

    async def beneath() -> AsyncIterator[Event]:
        nonlocal closed
        try:
            yield base.TextDelta("a")
            yield base.TextDelta("b")
        finally:
            closed = True

    stream = parsed(beneath())
    assert await anext(stream) == base.TextDelta("a")
    await stream.aclose()  # type: ignore[attr-defined]
    assert closed
