"""A conversation as a tree: turns, steps, and what happened in each. No Qt here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.state import ConversationState, ModelCall, Part, Step, ToolRun, Turn

Kind = Literal["turn", "lane", "step", "prompt", "reasoning", "text", "tool", "remark"]
_LONGEST_NAME = 120
_PURPOSES = {"conclude": "conclude", "summary": "write notes", "aggregate": "one answer of all"}


@dataclass(frozen=True, slots=True)
class Node:
    """A line of the tree. ``key`` is the id of the turn, step, part or call.

    ``seconds`` counts once it has ended; while it is ``live`` the time since ``began`` (Unix
    seconds) does.
    """

    key: str
    kind: Kind
    name: str
    began: float
    seconds: float = 0.0
    live: bool = False
    tokens: int = 0
    trouble: bool = False
    children: tuple[Node, ...] = ()


class NodeSource:
    """Derives nodes and keeps those of steps that did not change, so that they are identical."""

    def __init__(self) -> None:
        self._steps: dict[str, tuple[Step, Node]] = {}
        self._turns: dict[str, tuple[Turn, Node]] = {}

    def nodes(self, state: ConversationState) -> tuple[Node, ...]:
        """The turns of the shown branch, first turn first."""
        path = state.path()
        return tuple(self._turn(turn, number) for number, turn in enumerate(path, 1))

    def _turn(self, turn: Turn, number: int) -> Node:
        known = self._turns.get(turn.id)
        if known is not None and known[0] is turn:
            return known[1]
        running = turn.status == "running"
        lanes = tuple(self._lane(lane, turn) for lane in turn.lanes)
        steps = (*lanes, *(self._step(step, running) for step in turn.steps))
        node = Node(
            turn.id,
            "turn",
            f"{number}  {_short(turn.text)}",
            turn.began,
            max(turn.ended - turn.began, 0.0),
            turn.status == "running",
            sum(step.tokens for step in steps),
            turn.status in ("failed", "budget"),
            steps,
        )
        self._turns[turn.id] = (turn, node)
        return node

    def _lane(self, lane: Turn, turn: Turn) -> Node:
        known = self._turns.get(lane.id)
        if known is not None and known[0] is lane and not lane.lane_end:
            return known[1]
        running = lane.status == "running"
        steps = tuple(self._step(step, running, f"{lane.id}/") for step in lane.steps)
        agreed = turn.agreement
        same = agreed is not None and lane.number in agreed.agree
        state = {"answered": "", "running": ""}.get(lane.status, f" ({lane.status})")
        said = lane.answer or (lane.lane_end.message if lane.lane_end else "")
        node = Node(
            lane.id,
            "lane",
            f"Lane {lane.number}{state}{' ✓' * same}" + (f": {_short(said)}" if said else ""),
            lane.began,
            max(lane.ended - lane.began, 0.0),
            running,
            sum(step.tokens for step in steps),
            lane.status == "failed",
            steps,
        )
        self._turns[lane.id] = (lane, node)
        return node

    def _step(self, step: Step, running: bool, lane: str = "") -> Node:
        """``lane`` goes before the ids of calls, which lanes have in common."""
        known = self._steps.get(step.span)
        live = running and not step.ended
        if known is not None and known[0] is step and known[1].live == live:
            return known[1]
        node = _step_node(step, live, lane)
        self._steps[step.span] = (step, node)
        return node


def _step_node(step: Step, live: bool, lane: str) -> Node:
    runs = {run.call: run for run in step.tools}
    children: list[Node] = []
    if step.call is not None:
        children.append(_prompt(step, step.call, live))
    for part in step.parts:
        if part.kind == "tool_call":
            run = None if part.discarded else runs.pop(part.call, None)
            children.append(_tool(part, run, live, lane))
        else:
            name = "Reasoning" if part.kind == "reasoning" else "Answer"
            name += " (discarded)" if part.discarded else ""
            children.append(
                Node(
                    part.id,
                    "reasoning" if part.kind == "reasoning" else "text",
                    f"{name}: {_short(part.text)}",
                    part.began,
                    part.seconds,
                    part.open and live,
                    part.tokens,
                )
            )
    children += [_tool(None, run, live, lane) for run in runs.values()]
    children += [
        Node(f"{step.span}/remark{i}", "remark", _short(remark.text), remark.at)
        for i, remark in enumerate(step.remarks)
    ]
    names = [run.name for run in step.tools]
    if step.purpose != "act":
        names.append(_PURPOSES[step.purpose])
    what = ", ".join(names) or ("answer" if any(p.kind == "text" for p in step.parts) else "")
    return Node(
        step.span,
        "step",
        f"Step {step.index + 1}" + (f": {what}" if what else ""),
        step.began,
        max(step.ended - step.began, 0.0),
        live,
        sum(call.usage.completion_tokens for call in step.calls),
        any(run.status == "error" for run in step.tools) or bool(step.call and step.call.problems),
        tuple(children),
    )


def _prompt(step: Step, call: ModelCall, live: bool) -> Node:
    reading = live and not call.ended and not call.first_part
    seconds = (call.first_part - call.began) if call.first_part else call.seconds
    cached = call.usage.prompt_tokens_details.cached_tokens
    name = f"Prompt ({cached:,} of {call.prompt_tokens:,} cached)" if cached else "Prompt"
    return Node(
        f"{step.span}/prompt",
        "prompt",
        name,
        call.began,
        max(seconds, 0.0),
        reading,
        call.prompt_tokens,
        bool(call.problems),
    )


def _tool(part: Part | None, run: ToolRun | None, live: bool, lane: str) -> Node:
    if run is None:
        assert part is not None
        return Node(
            f"{lane}{part.call}" if part.call else part.id,
            "tool",
            f"{part.name or 'Tool call'}: {_short(part.text)}",
            part.began,
            part.seconds,
            part.open and live,
            part.tokens,
        )
    note = {
        None: "",
        "ok": "",
        "error": " ✗",
        "denied": " (denied)",
        "cancelled": " (stopped)",
        "unknown": " (outcome unknown)",
    }
    state = " (waits for you)" if run.waiting else note[run.status]
    return Node(
        f"{lane}{run.call}",
        "tool",
        f"{run.name}{state}: {_short(run.arguments)}",
        run.started or run.proposed,
        run.seconds,
        live and run.status is None,
        part.tokens if part else 0,
        run.status == "error",
    )


def _short(text: str) -> str:
    line = " ".join(text[: 4 * _LONGEST_NAME].split())
    return line if len(line) <= _LONGEST_NAME else line[:_LONGEST_NAME] + "…"
