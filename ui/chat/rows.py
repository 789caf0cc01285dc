"""A conversation as a flat list of rows, the unit of virtual scrolling. Qt-free.

Rows of a step are derived once and kept until a new state brings another object for that step:
states share structure, so identity tells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from app.agent.agreement import verdict_of
from app.state import ConversationState, Part, Remark, Step, ToolRun, Turn
from ui.chat.blocks import Block, split_blocks
from ui.words import count, took


@dataclass(frozen=True, slots=True)
class UserRow:
    key: str
    turn: Turn
    siblings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WaitRow:
    """The model has the prompt and has not written yet."""

    key: str
    done: int
    total: int
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class ReasoningRow:
    key: str
    part: Part


@dataclass(frozen=True, slots=True)
class TextRow:
    """One block of an answer, or of what the model says between steps."""

    key: str
    part: str
    block: Block


@dataclass(frozen=True, slots=True)
class LanesRow:
    """The lanes of a heavy run."""

    key: str
    turn: Turn


@dataclass(frozen=True, slots=True)
class ToolRow:
    """A call from its first argument character to its result; ``part`` while it is written."""

    key: str
    part: Part | None
    run: ToolRun | None
    schema: dict[str, Any] | None = None
    """Of its arguments, while it asks."""
    lane: int = 0
    """The number of the lane that made it; 0: none."""


@dataclass(frozen=True, slots=True)
class TroubleRow:
    """Why a turn did not end in an answer, and what can be done."""

    key: str
    turn: str
    title: str
    message: str
    hint: str
    can_continue: bool
    engine_lost: bool
    severe: bool


@dataclass(frozen=True, slots=True)
class FooterRow:
    """Under a finished turn: what it took, and copy and regenerate."""

    key: str
    turn: str
    answer: str
    summary: str


@dataclass(frozen=True, slots=True)
class RemarkRow:
    """A line about something the program decided or met."""

    key: str
    remark: Remark


Row = (
    RemarkRow
    | UserRow
    | WaitRow
    | ReasoningRow
    | TextRow
    | LanesRow
    | ToolRow
    | TroubleRow
    | FooterRow
)


class RowSource:
    """Derives rows and remembers those of steps and lanes that did not change."""

    def __init__(self) -> None:
        self._steps: dict[str, tuple[Step, tuple[Row, ...]]] = {}
        self._lanes: dict[str, tuple[Turn, tuple[Row, ...]]] = {}

    def rows(self, state: ConversationState) -> list[Row]:
        """The rows of the shown branch, first turn first."""
        rows: list[Row] = []
        kept: dict[str, tuple[Step, tuple[Row, ...]]] = {}
        for turn in state.path():
            running = turn.status == "running"
            siblings = tuple(t.id for t in state.siblings(turn))
            rows.append(UserRow(f"{turn.id}/user", turn, siblings))
            if turn.lanes:
                rows.append(LanesRow(f"{turn.id}/lanes", turn))
            for lane in turn.lanes:
                rows += self._of_lane(lane)
            for step in turn.steps:
                known = self._steps.get(step.span)
                if known is None or known[0] is not step:
                    known = (step, _step_rows(step, running))
                if running or not any(isinstance(r, WaitRow) for r in known[1]):
                    rows += known[1]
                kept[step.span] = known
            if running and not turn.steps and not turn.lanes:
                rows.append(WaitRow(f"{turn.id}/wait", 0, 0, None))
            rows += [
                RemarkRow(f"{turn.id}/{i}", r)
                for i, r in enumerate(turn.remarks)
                if r.code != "lanes"
            ]
            if turn.lanes and turn.answer and not any(s.parts for s in turn.steps):
                # A single answer is taken as it is, without a step that says it again.
                rows += _blocks(f"{turn.id}/answer", turn.answer)
            rows += _ending(turn)
        self._steps = kept
        return rows

    def _of_lane(self, lane: Turn) -> tuple[Row, ...]:
        known = self._lanes.get(lane.id)
        if known is None or known[0] is not lane:
            known = self._lanes[lane.id] = (lane, _lane_rows(lane))
        return known[1]


def _step_rows(step: Step, running: bool) -> tuple[Row, ...]:
    rows: list[Row] = []
    runs = {run.call: run for run in step.tools}
    for key, item in _in_order(step):
        if isinstance(item, Remark):
            rows.append(RemarkRow(key, item))
            continue
        part = item
        if part.kind == "reasoning":
            rows.append(ReasoningRow(part.id, part))
        elif part.kind == "text":
            judged = step.purpose == "aggregate"
            rows += _blocks(part.id, verdict_of(part.text, ())[0] if judged else part.text)
        else:
            run = runs.pop(part.call, None)
            rows.append(ToolRow(part.call or part.id, part, run, _schema(step, run)))
    rows += [ToolRow(run.call, None, run, _schema(step, run)) for run in runs.values()]
    call = step.call
    if not step.parts and running and not step.ended:
        done, total, left = 0, 0, None
        if call is not None:
            done, total, left = call.prefill_done, call.prefill_total, call.prefill_seconds_left
        rows.append(WaitRow(f"{step.span}/wait", done, total, left))
    return tuple(rows)


def _blocks(part: str, text: str) -> list[Row]:
    return [TextRow(f"{part}/{i}", part, block) for i, block in enumerate(split_blocks(text))]


def _lane_rows(lane: Turn) -> tuple[Row, ...]:
    """Of a lane's calls those that concern a person: they ask, or changed files."""

    def row(step: Step, run: ToolRun) -> ToolRow:
        address = f"{lane.id}/{run.call}"
        named = replace(run, call=address)
        return ToolRow(address, None, named, _schema(step, run), lane.number)

    concern = ((s, run) for s in lane.steps for run in s.tools if run.waiting or run.changes)
    return tuple(row(step, run) for step, run in concern)


def _schema(step: Step, run: ToolRun | None) -> dict[str, Any] | None:
    if run is None or not run.waiting or step.call is None:
        return None
    specs = (spec.function for spec in step.call.tools)
    return next((one.parameters for one in specs if one.name == run.name), None)


def _in_order(step: Step) -> list[tuple[str, Part | Remark]]:
    """Parts and remarks of a step by their times."""
    items: list[tuple[float, str, Part | Remark]] = [
        (remark.at, f"{step.span}/remark{i}", remark)
        for i, remark in enumerate(step.remarks)
        if remark.code != "lanes"  # stands with the lanes themselves
    ]
    # What a broken attempt wrote is in the trace.
    items += [(part.began, part.id, part) for part in step.parts if not part.discarded]
    return [(key, item) for _, key, item in sorted(items, key=lambda item: item[0])]


def _ending(turn: Turn) -> list[Row]:
    if turn.status == "running":
        return []
    rows: list[Row] = []
    trouble = _trouble(turn)
    if trouble is not None:
        rows.append(trouble)
    rows.append(FooterRow(f"{turn.id}/footer", turn.id, _answer(turn), _summary(turn)))
    return rows


def _trouble(turn: Turn) -> TroubleRow | None:
    key, lost = f"{turn.id}/trouble", False
    if turn.interrupted is not None:
        lost = turn.interrupted.cause == "engine_lost"
    if turn.failure is not None:
        f = turn.failure
        title = "The engine stopped" if lost else "This run failed"
        return TroubleRow(key, turn.id, title, f.message, f.hint, True, lost, True)
    if turn.status == "stopped":
        if turn.interrupted is not None and turn.interrupted.cause == "shutdown":
            message = "Selenograph was closed while it ran."
        else:
            message = "You stopped it. Everything up to here is kept."
        return TroubleRow(key, turn.id, "Stopped", message, "", True, False, False)
    if turn.status == "budget":
        message = (turn.interrupted.message if turn.interrupted else "") or (
            "A limit of steps, tokens or time was reached."
        )
        looped = turn.interrupted is not None and turn.interrupted.cause == "loop"
        title = "Concluded: it went in circles" if looped else "Budget spent"
        return TroubleRow(key, turn.id, title, message, "", True, False, False)
    if turn.status == "failed":
        message = turn.interrupted.message if turn.interrupted else ""
        title = "The engine stopped" if lost else "This run was interrupted"
        return TroubleRow(key, turn.id, title, message, "", True, lost, True)
    return None


def _answer(turn: Turn) -> str:
    if turn.answer:
        return turn.answer
    texts = [p.text for s in turn.steps for p in s.parts if p.kind == "text"]
    return "\n\n".join(texts)


def _summary(turn: Turn) -> str:
    taken = [step for one in (turn, *turn.lanes) for step in one.steps]
    steps = len(taken)
    calls = sum(len(s.tools) for s in taken)
    tokens = sum(c.usage.completion_tokens for s in taken for c in s.calls)
    parts = [count(steps, "step")]
    if calls:
        parts.append(count(calls, "tool call"))
    if tokens:
        parts.append(count(tokens, "token"))
    if turn.ended:
        parts.append(took(turn.ended - turn.began))
    return " · ".join(parts)
