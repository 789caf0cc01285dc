"""What can be done with the shown run now. Qt-free."""

from __future__ import annotations

from dataclasses import dataclass

from app import events as ev
from app.state import ConversationState, Step, ToolRun, Turn, plan_on


@dataclass(frozen=True, slots=True)
class Held:
    """Where a run, or one lane of it, stands."""

    turn: Turn
    why: ev.Paused

    @property
    def step(self) -> Step | None:
        """The step that is held, or the last one before the place."""
        return self.turn.steps[-1] if self.turn.steps else None

    def pending(self) -> ToolRun | None:
        """The first call that has not begun."""
        tools = self.step.tools if self.step and self.why.where == "call" else ()
        return next((t for t in tools if not t.started and t.status is None), None)

    def result(self) -> ToolRun | None:
        """The last result that the model has not read."""
        tools = self.step.tools if self.step and self.why.where == "result" else ()
        return next((t for t in reversed(tools) if t.status is not None), None)

    def words(self, now: float) -> str:
        """For a line. ``now``: Unix seconds, to count down to the next look for an endpoint."""
        lane = f" (lane {self.turn.number})" if self.turn.number else ""
        away = self.turn.away
        if away is not None:
            left = max(round(away.next_look - now), 0)
            when = f" · next try in {left} s" if away.next_look else ""
            return f"Waiting for {away.lost.endpoint}{lane}{when} · {away.lost.message}"
        place = {"step": "before the next step", "call": "before the call", "result": "after it"}
        if self.why.reason == "asked by a person":
            return f"Paused {place[self.why.where]}{lane}"
        return f"Paused: {self.why.reason}{lane}"


@dataclass(frozen=True, slots=True)
class Status:
    """Of the shown conversation."""

    running: bool = False
    pausing: bool = False
    held: tuple[Held, ...] = ()
    queued: tuple[ev.MessageQueued, ...] = ()
    unheard: tuple[ev.MessageQueued, ...] = ()
    """Queued in a run that ended before a step took them."""
    plan: tuple[ev.PlanItem, ...] = ()
    breakpoints: tuple[ev.Breakpoint, ...] = ()

    @classmethod
    def of(cls, state: ConversationState) -> Status:
        path = state.path()
        if not path:
            return cls(breakpoints=state.breakpoints)
        turn = path[-1]
        running = turn.status == "running"
        at_work = [one for one in (turn, *turn.lanes) if one.status == "running"]
        held = tuple(Held(one, one.paused) for one in at_work if one.paused is not None)
        lanes = at_work if running else (turn, *turn.lanes)
        queued = tuple({one.id: one for lane in lanes for one in lane.queued}.values())
        return cls(
            running,
            running and not held and any(one.pausing for one in at_work),
            held,
            queued if running else (),
            () if running else queued,
            plan_on(path),
            state.breakpoints,
        )


def address(turn: Turn, call: str) -> str:
    """A call's id among those of all lanes."""
    return f"{turn.id}/{call}" if turn.number else call


def words_of(point: ev.Breakpoint) -> str:
    """A breakpoint for people."""
    match point.kind:
        case "tool":
            return f"before {point.text}"
        case "error":
            return "when a call fails"
        case "text":
            return f"when “{point.text}” is said"
        case "step":
            return f"before step {point.number:.0f}"
        case "budget":
            return f"when {point.number:.0f} % of the budget are used"


_MARKS = {"todo": "○", "doing": "▸", "done": "✓", "dropped": "–"}


def plan_text(items: tuple[ev.PlanItem, ...]) -> str:
    """One item a line: its mark, a tab, its text."""
    return "\n".join(f"{_MARKS[item.status]}\t{item.text}" for item in items)


def plan_gist(items: tuple[ev.PlanItem, ...]) -> str:
    """How far it is, and what is being done."""
    done = sum(item.status in ("done", "dropped") for item in items)
    doing = next((item.text for item in items if item.status == "doing"), "")
    return f"{done} of {len(items)} done" + (f" · {doing}" if doing else "")
