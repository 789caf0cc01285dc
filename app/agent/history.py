"""The messages a model reads, derived from the conversation's state: there is no second log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from app.events import PartKind
from app.state import Step, ToolRun, Turn
from engine.protocol import ChatMessage, FunctionCall, Role, ToolCall


def messages(
    path: Iterable[Turn], system: str = "", notes: Role = "system"
) -> tuple[ChatMessage, ...]:
    """System prompt, then each turn's user message, replies and tool results.

    Every call of an assistant message is followed by exactly one result, in order. Of a step that
    did not end, what came to an end of its own is told (text, calls with results). A reply that
    only thought is left out: nothing followed from it. What the program told the model stands
    before the reply of its step, in the role ``notes``.
    """
    head = (ChatMessage("system", system),) if system else ()
    return (*head, *(message for turn in path for message in _of_turn(turn, notes)))


def call_ids(path: Iterable[Turn]) -> list[str]:
    """The ids of all calls on a branch, oldest first."""
    return [tool.call for turn in path for step in turn.steps for tool in step.tools]


def text_of(step: Step) -> str:
    """What the model said in a step."""
    return _written(step, "text")


def thought_of(step: Step) -> str:
    """What it thought."""
    return _written(step, "reasoning")


def _written(step: Step, kind: PartKind) -> str:
    return "".join(p.text for p in step.parts if p.kind == kind and not p.discarded)


def _of_turn(turn: Turn, notes: Role) -> Iterator[ChatMessage]:
    yield ChatMessage("user", turn.text)
    for step in turn.steps:
        for note in step.notes:
            yield ChatMessage(notes, note.text)
        if step.ended or turn.status != "running":
            yield from _of_step(step)


def _of_step(step: Step) -> Iterator[ChatMessage]:
    text = text_of(step)
    done = [tool for tool in step.tools if tool.status is not None]
    if not text.strip() and not done:
        return
    yield ChatMessage(
        "assistant",
        content=text,
        reasoning_content=thought_of(step) or None,
        tool_calls=tuple(_call(tool) for tool in done),
    )
    for tool in done:
        yield ChatMessage("tool", content=tool.result, tool_call_id=tool.call, name=tool.name)


def _call(tool: ToolRun) -> ToolCall:
    return ToolCall(tool.call, FunctionCall(tool.name, tool.arguments))
