"""The messages a model reads, derived from the conversation's state: there is no second log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from app.agent.agreement import verdict_of
from app.events import MessageTaken, PartKind
from app.plan import as_text
from app.state import Step, Summary, ToolRun, Turn, hidden_on, plan_on, summary_on
from engine.protocol import ChatMessage, FunctionCall, Role, ToolCall

Kind = Literal["system", "notes", "user", "note", "assistant", "result"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A message and where it comes from. ``key`` names it on its branch; a result's is the call's
    id. ``span`` is "" outside of steps.
    """

    key: str
    kind: Kind
    message: ChatMessage
    turn: str = ""
    span: str = ""
    tool: str = ""
    hidden: bool = False


def messages(
    path: Sequence[Turn], system: str = "", notes: Role = "system"
) -> tuple[ChatMessage, ...]:
    """System prompt, then each turn's user message, replies and tool results.

    Every call of an assistant message is followed by exactly one result, in order. Of a step that
    did not end, what came to an end of its own is told (text, calls with results). A reply that
    only thought is left out: nothing followed from it. What the program told the model stands
    before the reply of its step, in the role ``notes``. Results that were hidden are placeholders;
    what was summarised stands as notes before the first message that was not.
    """
    return tuple(segment.message for segment in History().segments(path, system, notes))


class History:
    """Derives the segments and keeps those of steps that did not change."""

    def __init__(self) -> None:
        self._turns: dict[tuple[str, Role], _Told] = {}

    def segments(self, path: Sequence[Turn], system: str, notes: Role) -> list[Segment]:
        """In the order in which they are sent."""
        made = [Segment("system", "system", _message("system", system))] if system else []
        summary = summary_on(path)
        first, skipped = covered(path, summary)
        if summary is not None:
            made.append(Segment("notes", "notes", _message(notes, _notes(path, summary))))
        hidden = hidden_on(path)
        for turn in path[first:]:
            made.append(Segment(turn.id, "user", _message("user", turn.text), turn.id))
            made += self._of_turn(turn, skipped, hidden, notes)
            skipped = 0
            if turn.lanes and turn.answer and not any(text_of(step) for step in turn.steps):
                reply = ChatMessage("assistant", content=turn.answer)
                made.append(Segment(f"{turn.id}/answer", "assistant", reply, turn.id))
        return made

    def _of_turn(
        self, turn: Turn, skipped: int, hidden: frozenset[str], notes: Role
    ) -> list[Segment]:
        steps = turn.steps[skipped:]
        told = self._turns.get((turn.id, notes))
        # Comparing is quick, for steps that did not change are the same objects.
        if told is None or told.hidden != hidden or told.steps != steps[: len(told.steps)]:
            told = _Told(hidden)
        ended = len(told.steps)
        segments = list(told.segments)
        for step in steps[ended:]:
            if not step.ended:
                break
            segments += _of_step(turn, step, hidden, notes, True)
            ended += 1
        self._turns[turn.id, notes] = _Told(hidden, steps[:ended], tuple(segments))
        for step in steps[ended:]:
            segments += _of_step(
                turn, step, hidden, notes, bool(step.ended) or turn.status != "running"
            )
        return segments


@dataclass(frozen=True, slots=True)
class _Told:
    """The finished steps of a turn, as they were told last."""

    hidden: frozenset[str]
    steps: tuple[Step, ...] = ()
    segments: tuple[Segment, ...] = ()


@lru_cache(maxsize=64)
def _message(role: Role, text: str) -> ChatMessage:
    """The same object for the same text, so that requests can be compared by identity."""
    return ChatMessage(role, text)


def covered(path: Sequence[Turn], summary: Summary | None) -> tuple[int, int]:
    """(first turn, how many of its steps) that a summary leaves to be told."""
    if summary is None:
        return 0, 0
    for i, turn in enumerate(path):
        if turn.id == summary.turn:
            whole = summary.steps >= len(turn.steps) and i + 1 < len(path)
            return (i + 1, 0) if whole else (i, summary.steps)
    return 0, 0


def call_ids(path: Iterable[Turn]) -> list[str]:
    """The ids of all calls on a branch, oldest first."""
    return [tool.call for turn in path for step in turn.steps for tool in step.tools]


def text_of(step: Step) -> str:
    """What the model said in a step, less its verdict on lanes."""
    text = _written(step, "text")
    return verdict_of(text, ())[0] if step.purpose == "aggregate" else text


def thought_of(step: Step) -> str:
    """What it thought, or what a person put in the place of that."""
    if step.reasoning is not None:
        return step.reasoning
    return _written(step, "reasoning")


def seal_of(step: Step) -> str:
    """What its endpoint wants to see with the reasoning of a step; only as it was written."""
    thoughts = [p for p in step.parts if p.kind == "reasoning" and not p.discarded]
    return thoughts[0].seal if len(thoughts) == 1 and step.reasoning is None else ""


def _written(step: Step, kind: PartKind) -> str:
    return "".join(p.text for p in step.parts if p.kind == kind and not p.discarded)


def _notes(path: Sequence[Turn], summary: Summary) -> str:
    text = f"Notes on what came before, written to save room:\n\n{summary.text}"
    plan = plan_on(path)
    return f"{text}\n\nThe plan as it stands:\n{as_text(plan)}" if plan else text


def _of_step(
    turn: Turn, step: Step, hidden: frozenset[str], notes: Role, told: bool
) -> Iterator[Segment]:
    if step.purpose == "summary":
        return
    for i, note in enumerate(step.notes):
        message = ChatMessage("user" if isinstance(note, MessageTaken) else notes, note.text)
        yield Segment(f"{step.span}/note{i}", "note", message, turn.id, step.span)
    text = text_of(step)
    done = [tool for tool in step.tools if tool.status is not None]
    if not told or (not text.strip() and not done):
        return
    reply = ChatMessage(
        "assistant",
        content=text,
        reasoning_content=thought_of(step) or None,
        reasoning_seal=seal_of(step) or None,
        tool_calls=tuple(_call(tool) for tool in done),
    )
    yield Segment(step.span, "assistant", reply, turn.id, step.span)
    for tool in done:
        away = tool.call in hidden
        content = placeholder(tool) if away else tool.result
        message = ChatMessage("tool", content=content, tool_call_id=tool.call, name=tool.name)
        yield Segment(tool.call, "result", message, turn.id, step.span, tool.name, away)


def placeholder(tool: ToolRun) -> str:
    """What stands for a hidden result."""
    size = f"{len(tool.result):,} characters"
    return f'(This result, {size}, is hidden to save room. recall("{tool.call}") shows it again.)'


def _call(tool: ToolRun) -> ToolCall:
    return ToolCall(tool.call, FunctionCall(tool.name, tool.arguments))
