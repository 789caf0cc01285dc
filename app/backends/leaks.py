"""Markers of Kimi K2's format that a server let through as text, made into what they mean.

Calls in a leaked section become calls, reasoning at an answer's beginning becomes reasoning, and no
marker is shown. What cannot be read as a call becomes one that fits no tool, so that the model is
asked again. A marker in a fence, between backticks or right after a quote is text about the format.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace

from app.backends import base
from engine.protocol import canonical_arguments

_MARKERS = {
    "<|tool_calls_section_begin|>": "section",
    "<|tool_call_section_begin|>": "section",
    "<|tool_calls_section_end|>": "section end",
    "<|tool_call_section_end|>": "section end",
    "<|tool_call_begin|>": "call",
    "<|tool_call_argument_begin|>": "arguments",
    "<|tool_call_end|>": "call end",
    "<|im_end|>": "end",
    "<think>": "think",
    "</think>": "think end",
}
_MARKER = re.compile("|".join(map(re.escape, _MARKERS)))
_LONGEST = max(map(len, _MARKERS))
_QUOTES = ("'", '"', "„", "“", "«")
_FENCE = "```"
_ID = re.compile(r"\s*(?:functions\.)?(.*?)(?::(\d+))?\s*", re.DOTALL)
_ESCAPED = re.compile(r"\\.", re.DOTALL)


async def parsed(stream: AsyncIterator[base.BackendEvent]) -> AsyncIterator[base.BackendEvent]:
    """A foreign endpoint's stream without markers in its texts."""
    leaks = Leaks()
    async with aclosing(stream) as events:  # type: ignore[type-var]
        async for event in events:
            for made in leaks.read(event):
                yield made


class Leaks:
    """Of one reply."""

    def __init__(self) -> None:
        self._thought = _Text(answers=False)
        self._answer = _Text(answers=True)
        self._calls: dict[int, list[str]] = {}
        """The endpoint's own, by index: name and arguments."""

    def read(self, event: base.BackendEvent) -> Iterator[base.BackendEvent]:
        """What an event is without markers; some of its text may come with a later one."""
        match event:
            case base.ReasoningDelta(text, tokens):
                yield from self._answer.pause()
                yield from _with_tokens(self._thought.push(text), tokens)
            case base.TextDelta(text, tokens):
                yield from self._thought.pause()
                yield from _with_tokens(self._answer.push(text), tokens)
            case base.Finished():
                yield from self._finish(event)
            case base.CallBegin() | base.CallDelta() | base.ReasoningSeal():
                yield from self._thought.pause()
                yield from self._answer.pause()
                self._note(event)
                yield event
            case _:
                yield event

    def _note(self, event: base.BackendEvent) -> None:
        match event:
            case base.CallBegin(index, _, name):
                self._calls[index] = [name]
            case base.CallDelta(index, text):
                self._calls.setdefault(index, [""]).append(text)

    def _finish(self, event: base.Finished) -> Iterator[base.BackendEvent]:
        yield from self._thought.finish()
        yield from self._answer.finish()
        own = {
            (name, canonical_arguments("".join(said) or "{}"))
            for name, *said in self._calls.values()
        }
        index, made = max(self._calls, default=-1), 0
        for call_id, name, arguments in (*self._thought.calls, *self._answer.calls):
            if (name, canonical_arguments(arguments)) in own:
                continue  # the endpoint told it as a call, too
            index, made = index + 1, made + 1
            yield base.CallBegin(index, call_id, name)
            yield base.CallDelta(index, arguments)
        if markers := self._thought.markers + self._answer.markers:
            calls = "no call" if not made else "1 call" if made == 1 else f"{made} calls"
            message = f"markers leaked by the endpoint, parsed: {markers} markers, {calls}"
            yield base.Problem("leaked_markers", message)
        yield replace(event, reason="tool_calls") if event.reason == "stop" and made else event


class _Text:
    """The reasoning or the answer, as it comes in pieces."""

    def __init__(self, answers: bool) -> None:
        """``answers``: reasoning may stand at its beginning, in marks of its own."""
        self.calls: list[tuple[str, str, str]] = []
        """Id, name, arguments; the id may be empty."""
        self.markers = 0
        self._answers = answers
        self._thinks = not answers
        self._held = ""
        self._looked = 0
        """So much of the held text was searched for markers that could end a call."""
        self._shown: list[str] = []
        self._fresh = False
        """Leaked reasoning ended, and nothing came yet."""
        self._in_section = False
        self._call: list[str] = []
        """Of a call that is being written: its id as it stands, and arguments once they began."""

    def push(self, text: str) -> Iterator[base.BackendEvent]:
        """What is certain now."""
        self._held += text
        yield from self._read(last=False)

    def pause(self) -> Iterator[base.BackendEvent]:
        """Something else comes: what is held is shown, unless a call is being written."""
        if not self._call:
            yield from self._read(last=True)

    def finish(self) -> Iterator[base.BackendEvent]:
        """Nothing more comes; a call that is being written is as complete as it gets."""
        yield from self._read(last=True)
        if self._call:
            self._call[-1] += self._held
            self._held = ""
            self._end_call()

    def _read(self, last: bool) -> Iterator[base.BackendEvent]:
        if last:
            self._looked = 0
        while True:
            if self._call:
                if not self._read_call(last):
                    return
                continue
            found = _MARKER.search(self._held)
            if found is None:
                keep = len(self._held)
                if not last:  # blanks may stand before a marker
                    keep = len(self._held[: _certain(self._held)].rstrip())
                yield from self._show(self._held[:keep])
                self._held = self._held[keep:]
                return
            before, self._held = self._held[: found.start()], self._held[found.end() :]
            meaning = _MARKERS[found.group()]
            if self._is_text(before, meaning):
                yield from self._show(before + found.group())
            else:
                yield from self._show(before.rstrip())
                self._take(meaning)

    def _is_text(self, before: str, meaning: str) -> bool:
        """Whether a marker after ``before`` is one that the model writes about."""
        shown = "".join(self._shown) + before
        if meaning == "think":
            return not self._answers or bool(shown.strip())
        if meaning == "think end":
            return not (self._answers and self._thinks)
        line = shown.rpartition("\n")[2]
        return shown.count(_FENCE) % 2 == 1 or line.count("`") % 2 == 1 or line.endswith(_QUOTES)

    def _take(self, meaning: str) -> None:
        self.markers += 1
        match meaning:
            case "section":
                self._in_section = True
                self._thinks = not self._answers
            case "section end":
                self._in_section = False
            case "call":
                self._call, self._looked = [""], 0
                self._thinks = not self._answers
            case "think":
                self._thinks = True
            case "think end":
                self._thinks, self._fresh = False, True

    def _show(self, text: str) -> Iterator[base.BackendEvent]:
        if self._fresh:
            text = text.lstrip()
        if not text or (self._in_section and not text.strip()):
            return
        self._fresh = False
        self._shown.append(text)
        yield base.ReasoningDelta(text) if self._thinks else base.TextDelta(text)

    def _read_call(self, last: bool) -> bool:
        """Go on to the next marker that means something; False where there is none yet."""
        for found in _MARKER.finditer(self._held, self._looked):
            written, meaning = self._held[: found.start()], _MARKERS[found.group()]
            in_arguments = len(self._call) == 2
            if meaning.startswith("think") or (in_arguments and meaning == "arguments"):
                continue
            if in_arguments and _in_string(written) and not last:
                continue
            self._call[-1] += written
            self._held, self._looked = self._held[found.end() :], 0
            self.markers += 1
            if meaning == "arguments":
                self._call.append("")
                return True
            self._end_call()
            if meaning != "call end":
                self.markers -= 1
                self._take(meaning)
            return True
        self._looked = max(0, len(self._held) - _LONGEST)
        return False

    def _end_call(self) -> None:
        (called, *rest), self._call = self._call, []
        found = _ID.fullmatch(called)
        assert found is not None
        name, number = found.groups()
        arguments = "".join(rest).strip()
        if name or arguments:
            call_id = f"functions.{name}:{number}" if name and number else ""
            self.calls.append((call_id, name or "unnamed", _unwrapped(arguments) or "{}"))


def _certain(text: str) -> int:
    """How much of a text is not the beginning of a marker."""
    start = max(0, len(text) - _LONGEST)
    while (start := text.find("<", start)) >= 0:
        if any(marker.startswith(text[start:]) for marker in _MARKERS):
            return start
        start += 1
    return len(text)


def _in_string(text: str) -> bool:
    """Whether a JSON text ends inside of a string."""
    return _ESCAPED.sub("", text).count('"') % 2 == 1


def _unwrapped(arguments: str) -> str:
    """An object that was written as a string of JSON."""
    if not arguments.startswith('"'):
        return arguments
    try:
        inner = json.loads(arguments)
        return inner if isinstance(json.loads(inner), dict) else arguments
    except (ValueError, TypeError, RecursionError):
        return arguments


def _with_tokens(made: Iterator[base.BackendEvent], tokens: int) -> Iterator[base.BackendEvent]:
    """The first of them has the tokens."""
    for event in made:
        if tokens and isinstance(event, base.TextDelta | base.ReasoningDelta):
            event, tokens = replace(event, tokens=tokens), 0
        yield event
