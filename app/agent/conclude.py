"""The last reply of a run that cannot go on: a run never ends empty-handed."""

from __future__ import annotations

import asyncio

from app import events as ev
from app.agent import history, notes
from app.agent.asking import ask_patiently
from app.agent.model_call import Ask
from app.agent.run import Run
from app.agent.steering import take_queued
from app.agent.tool_call import refuse_calls
from app.agent.undone import tell_undone
from app.backends.base import Backend
from app.errors import EngineLost, SelenographError, StoreError
from app.state import Step, Turn

ANSWER_TOKENS = 8_192
THINKING_TOKENS = 2_048
GRACE_SECONDS = 60.0
"""Of a run whose time is up; a tenth of its time where that is more."""
_QUOTED = 2_000


async def conclude(run: Run, backend: Backend, why: SelenographError) -> str:
    """Ask once more for an answer, and once again without tools if it calls one all the same.

    Always returns a text: the answer, what there is of it, or what was found last. Raises
    EngineLost and StoreError.
    """
    run.close_step()
    seconds = run.meter.budget.seconds
    grace = max(GRACE_SECONDS, seconds / 10) if why.code == "seconds" else None
    try:
        async with asyncio.timeout(grace):
            for tools in (True, False):
                text = await _last_words(run, backend, why, tools)
                if text.strip():
                    return text.strip()
    except TimeoutError:
        run.close_step()
    except (EngineLost, StoreError):
        raise
    except SelenographError as error:
        run.emit(ev.FormatProblemSeen(error.code, error.message), run.span)
        run.close_step()
    turn = run.state.turn(run.turn)
    return what_there_is(turn) if turn else ""


async def _last_words(run: Run, backend: Backend, why: SelenographError, tools: bool) -> str:
    turn = run.state.turn(run.turn)
    steps = turn.steps if turn else ()
    span = run.begin_step(len(steps), "conclude")
    run.emit(ev.Concluding(why.code, why.message), span)
    take_queued(run, span)
    tell_undone(run, span)
    run.emit(notes.conclude(why.message, _unsaid(steps)), span)
    most = run.meter.budget.step_tokens or ANSWER_TOKENS
    ask = Ask(tools, may_call=False, max_tokens=most, thinking=min(most // 2, THINKING_TOKENS))
    reply = await ask_patiently(run, backend, span, ask)
    if reply.calls:
        refuse_calls(run, span, reply.calls, "the run is being concluded")
    run.emit(ev.StepEnd(len(steps)), span)
    return reply.text


def _unsaid(steps: tuple[Step, ...]) -> str:
    """Reasoning of the last step that came to nothing, and that no message therefore tells."""
    if not steps or steps[-1].tools or history.text_of(steps[-1]).strip():
        return ""
    return history.thought_of(steps[-1])


def what_there_is(turn: Turn) -> str:
    """The nearest thing to an answer in a turn that has none."""
    for step in reversed(turn.steps):
        text = history.text_of(step).strip()
        if text:
            return text
    for step in reversed(turn.steps):
        results = [tool.result for tool in step.tools if tool.status == "ok"]
        if results:
            return f"(No answer was reached. The last result was:)\n\n{results[-1][:_QUOTED]}"
    for step in reversed(turn.steps):
        thought = history.thought_of(step).strip()
        if thought:
            return f"(No answer was reached. The last thoughts were:)\n\n{thought[-_QUOTED:]}"
    return "(No answer was reached.)"
