"""What a person can do with a run that is at work: the steering commands, on the core's loop.

A run in lanes is steered as a whole: what is said to it is said to every lane at work. Calls of
lanes are named by their addresses (:meth:`app.agent.run.Run.address`).
"""

from __future__ import annotations

import asyncio
import secrets

from app import events as ev
from app.agent.run import Run
from app.errors import RequestError, ToolError
from app.state import ConversationState, Step, Turn
from app.store.journal import Journal


class Steering:
    """Commands raise RequestError ``not_running``, ``not_paused``, and as they say."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}

    def pause(self, conversation: str) -> None:
        """Pause the run at the next place where it can."""
        for run in self._running(conversation).working():
            run.emit(ev.PauseAsked(), run.span)
            run.gate.asked = True

    def proceed(self, conversation: str, mode: ev.GoMode) -> None:
        """Let a run go on, ``step``: to its next step. A pause that was only asked for is off."""
        runs = self._running(conversation).working()
        held = [run for run in runs if run.gate.paused]
        if not held:
            raise _not_paused()
        for run in runs:
            if run.gate.paused:
                run.emit(ev.Continued(mode), run.span)
            run.gate.open(mode)

    def set_breakpoints(self, conversation: str, points: tuple[ev.Breakpoint, ...]) -> None:
        self._journal.append(conversation, ev.BreakpointsSet(points))

    def queue(self, conversation: str, text: str) -> None:
        """Tell the model something before its next step. Raises RequestError ``empty_message``."""
        if not text.strip():
            raise RequestError("empty_message", "there is nothing to send")
        id = secrets.token_hex(6)
        for run in self._running(conversation).working():
            run.emit(ev.MessageQueued(id, text), run.span)

    def unqueue(self, conversation: str, message: str) -> None:
        """Take a queued message back. Raises RequestError ``too_late``."""
        found = False
        for run in self._running(conversation).working():
            if any(one.id == message for one in turn_of(run.state, run.turn).queued):
                run.emit(ev.MessageWithdrawn(message), run.span)
                found = True
        if not found:
            raise RequestError("too_late", "the model has heard it already")

    def stop_lane(self, conversation: str, lane: str) -> None:
        """Stop one lane and let the others run. Raises RequestError ``no_lane``."""
        run = self._running(conversation).lanes.get(lane)
        if run is None or run.task is None:
            raise RequestError("no_lane", f"no lane {lane!r} is at work")
        run.left_out, run.cause = True, "user"
        run.task.cancel()

    def edit_call(self, conversation: str, call: str, arguments: str) -> None:
        """Change a call that has not begun. Raises RequestError ``too_late``, ``bad_arguments``."""
        for run in self._running(conversation).working():
            turn = turn_of(run.state, run.turn)
            tools = turn.steps[-1].tools if turn.steps else ()
            tool = next((one for one in tools if run.address(one.call) == call), None)
            if tool is None or tool.started or tool.status is not None:
                continue
            if tool.asked and not run.desk.waits(conversation, call):
                continue  # it was allowed as it stands
            try:
                run.parse(tool.name, arguments)
            except ToolError as error:
                raise RequestError("bad_arguments", error.message) from None
            run.emit(ev.ArgumentsEdited(tool.call, arguments, tool.arguments), run.span)
            return
        raise RequestError("too_late", f"the call {call} does not wait any more")

    def edit_result(self, conversation: str, call: str, result: str) -> None:
        """Change a result in a paused run. Raises RequestError ``no_call``."""
        for run in self._held(conversation):
            for step in turn_of(run.state, run.turn).steps:
                for tool in step.tools:
                    if run.address(tool.call) == call and tool.status is not None:
                        run.emit(ev.ResultEdited(tool.call, result), step.span)
                        return
        raise RequestError("no_call", f"there is no result of a call {call!r} in this run")

    def edit_reasoning(self, conversation: str, step: str, text: str) -> None:
        """Change what was thought: in a finished reply while the run is paused, or in the one that
        is being written, which then begins anew from there. Raises RequestError ``no_step``.
        """
        for run in self._running(conversation).working():
            found = _step(run, step)
            if found is None or found.call is None:
                continue
            turn = turn_of(run.state, run.turn)
            if turn.away is not None and found is turn.steps[-1]:
                raise RequestError("no_step", "this step's reply broke off and is asked for anew")
            if not found.call.ended:
                run.redirected = text
            elif not run.gate.paused:
                raise _not_paused()
            run.emit(ev.ReasoningEdited(step, text), step)
            return
        raise RequestError("no_step", f"there is no step {step!r} in this run")

    # -- inside -------------------------------------------------------------------------------

    def _at_work(self, conversation: str) -> tuple[Run, asyncio.Task[None]] | None:
        """The run that goes on. One whose task has come to its end goes on no more, though its
        callback may still wait in line behind a command of who heard of that.
        """
        found = self._runs.get(conversation)
        return None if found is None or found[1].done() else found

    def _running(self, conversation: str) -> Run:
        found = self._at_work(conversation)
        if found is None:
            raise RequestError("not_running", "no run goes on in this conversation")
        return found[0]

    def _let_end(self, run: Run) -> None:
        """A run that is to stop after its step and is held before one has nothing to wait for."""
        paused = turn_of(run.state, run.turn).paused
        if run.gate.paused and paused is not None and paused.where == "step":
            run.emit(ev.Continued("go"), run.span)
            run.gate.open("go")

    def _held(self, conversation: str) -> list[Run]:
        held = [run for run in self._running(conversation).working() if run.gate.paused]
        if not held:
            raise _not_paused()
        return held


def turn_of(state: ConversationState, turn: str) -> Turn:
    """Raises RequestError ``no_turn``."""
    found = state.turn(turn)
    if found is None:
        raise RequestError("no_turn", f"there is no turn {turn!r} in this conversation")
    return found


def _step(run: Run, span: str) -> Step | None:
    return next((s for s in turn_of(run.state, run.turn).steps if s.span == span), None)


def _not_paused() -> RequestError:
    return RequestError("not_paused", "the run is not paused", "pause it first")
