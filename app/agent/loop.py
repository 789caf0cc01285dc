"""The loop: model call, tool calls, results, until an answer, a limit, a stop or an error."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from itertools import count

from app import events as ev
from app.agent.model_call import Reply, ask_model
from app.agent.run import Run
from app.agent.tool_call import answer_calls
from app.errors import BudgetSpent, EngineLost, FormatError, SelenographError

_log = logging.getLogger(__name__)

_EMPTY_REPLIES = 2
"""How often in a row a model may think and say nothing before the turn fails."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a turn ends: ``trouble`` goes before its TurnEnd."""

    status: ev.TurnStatus
    answer: str = ""
    trouble: tuple[ev.Body, ...] = ()


async def run_turn(run: Run) -> None:
    """Drive a turn, new or resumed, to its TurnEnd. Raises nothing.

    Whatever happens, every part, model call and tool call that began is ended in the record.
    """
    try:
        async with run.meter.clock():
            ending = await _steps(run)
    except asyncio.CancelledError:
        # Stopping is this task's last business, so the cancellation ends here.
        ending = Ending("stopped", trouble=(ev.Interrupted(run.cause),))
    except BudgetSpent as error:
        ending = Ending("budget", trouble=(ev.Interrupted("budget", str(error)),))
    except EngineLost as error:
        lost = ev.Interrupted("engine_lost", error.message)
        ending = Ending("failed", trouble=(lost, _failed(error)))
    except SelenographError as error:
        ending = Ending("failed", trouble=(_failed(error),))
    except Exception as error:
        _log.exception("turn %s failed", run.turn)
        message = f"{type(error).__name__}: {error}"
        bug = ev.Failed("internal", message, "this is a bug; the log says more", True)
        ending = Ending("failed", trouble=(bug,))
    last = (*ending.trouble, ev.TurnEnd(run.turn, ending.status, ending.answer))
    run.journal.end_turn(run.conversation, run.turn, last)


async def _steps(run: Run) -> Ending:
    backend = await run.find_backend(run.settings)
    turn = run.state.turn(run.turn)
    empty = 0
    for index in count(len(turn.steps) if turn else 0):
        run.meter.begin_step()
        span = secrets.token_hex(6)
        run.emit(ev.StepBegin(index), span)
        reply = await ask_model(run, backend, span)
        if reply.calls:
            await answer_calls(run, span, reply.calls)
        elif reply.empty and reply.finish_reason != "length":
            empty += 1
            problem = "the model thought, but neither answered nor called a tool"
            run.emit(ev.FormatProblemSeen("empty_reply", problem), span)
            if empty == _EMPTY_REPLIES:
                raise FormatError("empty_reply", problem, "resume, or ask differently")
        run.emit(ev.StepEnd(index), span)
        ending = _ending(run, reply)
        if ending is not None:
            return ending
    raise AssertionError("count never ends")


def _ending(run: Run, reply: Reply) -> Ending | None:
    """Whether the turn is over after a step."""
    if not reply.calls and reply.finish_reason == "length":
        cut = ev.Interrupted("budget", "the reply was cut off at its token limit")
        return Ending("budget", reply.text, (cut,))
    if not reply.calls and not reply.empty:
        return Ending("answered", reply.text.strip())
    if run.stop_after_step:
        return Ending("stopped", trouble=(ev.Interrupted("user"),))
    return None


def _failed(error: SelenographError) -> ev.Failed:
    return ev.Failed(error.code, error.message, error.hint, error.retryable)
