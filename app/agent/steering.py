"""Where a person can hold a run: pause, step, breakpoints; and what happens while it is held."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app import events as ev

if TYPE_CHECKING:
    from app.agent.run import Run


_ASKED = "asked by a person"


@dataclass(slots=True)
class Gate:
    """Of one run, on the core's loop. Closed while the run is paused."""

    asked: bool = False
    """A person, or a guard, wants it to pause at the next place."""
    why: str = ""
    """What a guard says about that."""
    stepping: bool = False
    """It is to pause before the next step."""
    paused: bool = False
    step: int | None = None
    """The last that it looked at; a breakpoint holds what comes to it, not what is beyond."""
    passed: set[ev.Breakpoint] = field(default_factory=set)
    """Shares of the budget, which hold once."""
    _go: asyncio.Event = field(default_factory=asyncio.Event)

    def open(self, mode: ev.GoMode) -> None:
        """Let it go on."""
        self.stepping = mode == "step"
        self.asked = False
        self._go.set()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """While the block runs."""
        self._go.clear()
        self.paused = True
        try:
            yield
        finally:
            self.paused = False

    async def opened(self) -> None:
        """Until :meth:`open`."""
        await self._go.wait()


async def before_step(run: Run) -> None:
    """Pause here if a person, a step or a share of the budget says so."""
    gate, why = run.gate, ""
    share = max((one.part for one in run.meter.shares()), default=0.0) * 100
    turn = run.state.turn(run.turn)
    number = len(turn.steps) + 1 if turn else 1
    goes_on = gate.step is None and number > 1
    before, gate.step = number - 1 if gate.step is None else gate.step, number
    if gate.asked or gate.stepping:
        why = gate.why or _ASKED
    for point in run.state.breakpoints:
        if point.kind == "step" and before < point.number <= number:
            why = f"before step {number}"
        elif point.kind == "budget" and share >= point.number and point not in gate.passed:
            gate.passed.add(point)
            why = why if goes_on else f"{share:.0f} % of the budget are used"
    await _pause(run, "step", why)


def take_queued(run: Run, span: str) -> None:
    """What a person said since the last step is told before this one's reply."""
    turn = run.state.turn(run.turn)
    for message in turn.queued if turn else ():
        run.emit(ev.MessageTaken(message.id, message.text), span)


async def if_asked(run: Run) -> None:
    """Pause here, between steps, if a person or a guard asked."""
    gate = run.gate
    await _pause(run, "step", gate.why or _ASKED if gate.asked or gate.stepping else "")


async def after_reply(run: Run, text: str, tools: Iterable[str]) -> None:
    """Pause here if a person asked, a word was said, or a tool is about to be called."""
    why = run.gate.why or _ASKED if run.gate.asked else _said(run, text)
    names = set(tools)
    for point in run.state.breakpoints:
        if point.kind == "tool" and point.text in names:
            why = f"before {point.text}"
    await _pause(run, "call", why)


async def after_results(run: Run) -> None:
    """Pause here if a call failed or a result says a word that is waited for."""
    turn = run.state.turn(run.turn)
    tools = turn.steps[-1].tools if turn and turn.steps else ()
    why = run.gate.why or _ASKED if run.gate.asked and tools else ""
    for tool in tools:
        why = _said(run, tool.result) or why
        failed = tool.status == "error"
        if failed and any(point.kind == "error" for point in run.state.breakpoints):
            why = f"{tool.name} failed"
    await _pause(run, "result", why)


def _said(run: Run, text: str) -> str:
    low = text.lower()
    for point in run.state.breakpoints:
        if point.kind == "text" and point.text and point.text.lower() in low:
            return f"“{point.text}” was said"
    return ""


async def _pause(run: Run, where: ev.PausePlace, why: str) -> None:
    if not why:
        return
    run.gate.asked = run.gate.stepping = False
    run.gate.why = ""
    run.emit(ev.Paused(where, why), run.span)
    with run.meter.paused(), run.gate.closed():
        await run.gate.opened()
