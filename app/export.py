"""A conversation as a text to give away: Markdown or JSON, secrets blacked out by default."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec

from app.agent.history import text_of, thought_of
from app.events import Event
from app.guard.secrets import redact_secrets
from app.state import ConversationState, ToolRun, Turn

Format = Literal["markdown", "json"]


def as_json(events: tuple[Event, ...], *, redact: bool = True) -> str:
    """Every event as one JSON object a line; texts in it are looked at one by one."""
    clean = redact_secrets if redact else str
    lines = (msgspec.to_builtins(event) for event in events)
    return "".join(f"{json.dumps(_each(line, clean), ensure_ascii=False)}\n" for line in lines)


def as_markdown(state: ConversationState, *, redact: bool = True) -> str:
    """The shown branch for people: questions, thoughts, calls, results, answers."""
    text = "\n\n".join((f"# {state.title or 'Conversation'}", *_turns(state)))
    return f"{redact_secrets(text) if redact else text}\n"


def _turns(state: ConversationState) -> Iterator[str]:
    for turn in state.path():
        yield f"## {_one_line(turn.text)[:80]}"
        yield turn.text
        for one in (turn, *turn.lanes):
            if one is not turn:
                yield f"### Lane {one.number}"
            yield from _steps(one)
        if turn.answer and turn.lanes:
            yield turn.answer
        if turn.failure is not None:
            yield f"*Failed: {turn.failure.message}*"


def _steps(turn: Turn) -> Iterator[str]:
    for step in turn.steps:
        thought, said = thought_of(step).strip(), text_of(step).strip()
        if thought:
            yield f"<details><summary>Thought</summary>\n\n{_fenced(thought)}\n\n</details>"
        if said:
            yield said
        for tool in step.tools:
            yield from _tool(tool)
        for note in step.remarks:
            yield f"*{_one_line(note.text)}*"


def _tool(tool: ToolRun) -> Iterator[str]:
    who = f", {tool.decision} by {tool.decided_by}" if tool.decision else ""
    yield f"**{tool.name}** ({tool.status or 'not ended'}{who})"
    yield _fenced(tool.arguments)
    if tool.result:
        yield _fenced(tool.result)


def _fenced(text: str) -> str:
    """In a fence that the text cannot close."""
    longest = max((len(run) for run in _ticks(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def _ticks(text: str) -> list[str]:
    return [run for run in "".join(c if c == "`" else " " for c in text).split(" ") if run]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _each(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _each(one, clean) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_each(one, clean) for one in value]
    return value
