"""The tool calls of one reply: asked about, run, and each brought to a result."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from app import events as ev
from app.agent.approval import Answer
from app.agent.consent import consent, wanted
from app.agent.guarding import guarded
from app.agent.model_call import Call
from app.agent.notes import CHANGED
from app.agent.repeats import REFUSED, Key, key_of
from app.agent.run import Run
from app.errors import StoreError, ToolError
from app.state import ToolRun
from app.store.journal import Item
from app.tools.base import Tool
from app.tools.web.untrusted import briefly_untrusted, untrusted

_OUTPUT_EVERY = 0.1
_OUTPUT_LIMIT = 200_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Planned:
    """A call that was looked at: what will run it, or why nothing will."""

    call: Call
    tool: Tool | None
    arguments: dict[str, Any]
    key: Key
    problem: str = ""
    repeated: int = 0
    """How often it was made before, with the same result each time; then it is not run."""

    @property
    def beside(self) -> bool:
        """Whether it may run beside others."""
        return self.tool is None or (self.tool.read_only and not self.tool.asks)


def propose_calls(run: Run, span: str, calls: Sequence[Call]) -> list[Planned]:
    """Record what the model wants to call, before anything of it runs."""
    planned = [_plan(run, call) for call in calls]
    items: list[Item] = []
    for p in planned:
        doubt = run.doubtful.get(p.key, "")
        proposed = ev.ToolProposed(p.call.id, p.call.name, p.call.arguments, p.problem, doubt)
        items.append((proposed, span))
    run.journal.append_all(run.conversation, items, run.turn)
    return planned


async def answer_calls(run: Run, span: str, proposed: Sequence[Planned]) -> None:
    """Bring every call that was proposed to its ToolEnded, in order; calls that only read run side
    by side. A person may have changed arguments meanwhile.
    """
    planned = [_as_edited(run, one) for one in proposed]
    verdicts = run.repeats.refuse([one.key for one in planned])
    planned = [
        _refused(one, count) if count else one for one, count in zip(planned, verdicts, strict=True)
    ]
    for beside, group in groupby(planned, key=lambda p: p.beside):
        if not beside:
            for one in group:
                await _answer(run, span, one)
            continue
        try:
            async with asyncio.TaskGroup() as tasks:
                for one in group:
                    tasks.create_task(_answer(run, span, one))
        except* StoreError as troubles:
            trouble = troubles
        else:
            continue
        raise trouble.exceptions[0]


def refuse_calls(run: Run, span: str, calls: Sequence[Call], why: str) -> None:
    """Run none of them; each gets a result that says why."""
    ids = [(call.id, call.name, call.arguments) for call in calls]
    items: list[Item] = [(ev.ToolProposed(*call, why), span) for call in ids]
    items += [(ev.ToolEnded(id, "error", f"error: not run: {why}"), span) for id, *_ in ids]
    run.journal.append_all(run.conversation, items, run.turn)


def _plan(run: Run, call: Call) -> Planned:
    key, tool = key_of(call.name, call.arguments), run.tool(call.name)
    if tool is None:
        return Planned(call, None, {}, key, f"unknown tool {call.name}")
    resting = run.breaker.resting(call.name, run.index)
    if resting:
        return Planned(call, None, {}, key, f"not run: {resting}")
    try:
        return Planned(call, tool, run.parse(call.name, call.arguments), key)
    except ToolError as error:
        return Planned(call, None, {}, key, error.message)


def _recorded(run: Run, call: str) -> ToolRun | None:
    turn = run.state.turn(run.turn)
    tools = turn.steps[-1].tools if turn and turn.steps else ()
    return next((tool for tool in tools if tool.call == call), None)


def _as_edited(run: Run, planned: Planned) -> Planned:
    call, tool = planned.call, _recorded(run, planned.call.id)
    arguments = tool.arguments if tool is not None else call.arguments
    return (
        planned if arguments == call.arguments else _plan(run, replace(call, arguments=arguments))
    )


def _refused(planned: Planned, count: int) -> Planned:
    why = f"not run: {REFUSED.format(count=count)}"
    return replace(planned, tool=None, problem=why, repeated=count)


async def _answer(run: Run, span: str, planned: Planned) -> None:
    id, began = planned.call.id, time.monotonic()

    def end(status: ev.ToolStatus, result: str) -> None:
        run.emit(ev.ToolEnded(id, status, result, time.monotonic() - began), span)

    if planned.repeated:
        run.emit(ev.LoopSeen(id, "refused", planned.repeated), span)
        return end("error", f"error: {planned.problem}")
    if planned.tool is None:
        return end("error", _watched(run, span, planned, f"error: {planned.problem}"))
    answer = await _consent(run, span, planned, planned.tool)
    if not answer.allowed:
        why = f": {answer.reason}" if answer.reason else ""
        who = "the user" if answer.by == "person" else "a rule"
        return end("denied", f"error: {who} denied this call{why}")
    planned = _as_edited(run, planned)
    if planned.tool is None:
        return end("error", f"error: {planned.problem}")
    began = time.monotonic()
    run.emit(ev.ToolStarted(id), span)
    status, result = await _work(run, span, planned, planned.tool)
    result = _as_guarded(run, span, planned, planned.tool, result)
    unavailable = run.breaker.ended(planned.call.name, result * (status == "error"), run.index)
    end(status, _changed(run, planned) + _watched(run, span, planned, result))
    if unavailable is not None:
        run.emit(unavailable, span)


async def _work(run: Run, span: str, planned: Planned, tool: Tool) -> tuple[ev.ToolStatus, str]:
    """Run it: how it ended, and the result."""
    output = _Output(run, span, planned.call.id)
    try:
        with run.meter.in_tool():
            result = await tool.run(
                planned.arguments, run.context(planned.call.id, span), output.write
            )
        return "ok", _marked(run, tool, _bounded(run, result))
    except StoreError:
        raise
    except ToolError as error:
        foreign = tool.risk == "foreign"  # whose errors are texts of others, too
        message = _marked(run, tool, error.message) if foreign else error.message
        return "error", _bounded(run, f"error: {message}")
    except Exception as error:
        _log.exception("the tool %s failed", planned.call.name)
        return "error", _bounded(run, f"error: the tool failed: {type(error).__name__}: {error}")
    finally:
        output.flush()


def _as_guarded(run: Run, span: str, planned: Planned, tool: Tool, result: str) -> str:
    look = wanted(run, planned.call, tool, planned.arguments)
    return guarded(run, span, "result", result, call=planned.call.id, wanted=look)


def _changed(run: Run, planned: Planned) -> str:
    """A word to the model about a call that the person changed."""
    tool = _recorded(run, planned.call.id)
    return CHANGED if tool is not None and tool.written is not None else ""


def _watched(run: Run, span: str, planned: Planned, result: str) -> str:
    """The result as the model reads it: with a word about it if it is the same again."""
    text, times = run.repeats.ended(planned.key, result)
    if times == 2:
        run.emit(ev.LoopSeen(planned.call.id, "told", times), span)
        if run.forbids_calls:
            run.emit(ev.LoopSeen(planned.call.id, "forbidden", times), span)
    return text


async def _consent(run: Run, span: str, planned: Planned, tool: Tool) -> Answer:
    # A call of unknown outcome that did the same is spoken of once.
    doubt = "" if tool.read_only else run.doubtful.pop(planned.key, "")
    return await consent(run, span, planned.call, tool, planned.arguments, doubt)


def _marked(run: Run, tool: Tool, text: str) -> str:
    if tool.outside != "raw":
        return text
    return untrusted(text) if run.marks else briefly_untrusted(text)


def _bounded(run: Run, text: str) -> str:
    limit = run.result_limit
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n({len(text) - limit} more characters left out)"


class _Output:
    """Gathers what a tool prints into an event every tenth of a second."""

    def __init__(self, run: Run, span: str, call: str) -> None:
        self._run = run
        self._span = span
        self._call = call
        self._buffer: list[str] = []
        self._room = _OUTPUT_LIMIT
        self._timer: asyncio.TimerHandle | None = None
        # What a guard may have to change is not shown before it is whole.
        self._held = run.guards is not None and run.guards.holds_output("result")

    def write(self, text: str) -> None:
        if self._held:
            return
        text = text[: self._room]
        self._room -= len(text)
        if text:
            self._buffer.append(text)
            if self._timer is None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(_OUTPUT_EVERY, self._tick)

    def _tick(self) -> None:
        try:
            self.flush()
        except StoreError as error:
            # The run meets the same trouble with its next event and ends there.
            _log.warning("a tool's output is not stored: %s", error)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._buffer:
            text, self._buffer = "".join(self._buffer), []
            self._run.emit(ev.ToolOutput(self._call, text), self._span)
