"""How a turn or a lane ends, whatever ended it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from app import events as ev
from app.agent.run import Run
from app.errors import EngineLost, SelenographError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a turn ends: ``trouble`` goes before its end."""

    status: ev.TurnStatus
    answer: str = ""
    trouble: tuple[ev.Body, ...] = ()

    def of_lane(self, lane: str) -> ev.LaneEnd:
        """The same for a lane: one event."""
        code, message = "", ""
        for body in self.trouble:
            if isinstance(body, ev.Interrupted):
                code, message = body.cause, body.message
            elif isinstance(body, ev.Failed):
                code, message = body.code, body.message
        return ev.LaneEnd(lane, self.status, self.answer, code, message)


async def ending_of(run: Run, work: Coroutine[Any, Any, Ending]) -> Ending:
    """The end that ``work`` comes to. Raises nothing: errors and cancellation are ends, too."""
    try:
        return await work
    except asyncio.CancelledError:
        # Stopping is this task's last business, so the cancellation ends here.
        return Ending("stopped", trouble=(ev.Interrupted(run.cause),))
    except EngineLost as error:
        lost = ev.Interrupted("engine_lost", error.message)
        return Ending("failed", trouble=(lost, _failed(error)))
    except SelenographError as error:
        return Ending("failed", trouble=(_failed(error),))
    except Exception as error:
        _log.exception("turn %s failed", run.turn)
        message = f"{type(error).__name__}: {error}"
        bug = ev.Failed("internal", message, "this is a bug; the log says more", True)
        return Ending("failed", trouble=(bug,))


def _failed(error: SelenographError) -> ev.Failed:
    return ev.Failed(error.code, error.message, error.hint, error.retryable)
