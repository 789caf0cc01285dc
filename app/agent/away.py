"""A run whose endpoint is gone waits for it, as one that is paused, and goes on by itself.

Nothing of the step is kept but that it began: its model is asked anew, and its calls, which only
run after a whole reply, have not begun. The wait counts against no limit of the budget.
"""

from __future__ import annotations

import asyncio
import time
from typing import Literal

from app import events as ev
from app.agent.patience import rest
from app.agent.run import Run
from app.backends.base import Backend
from app.errors import SelenographError

Way = Literal["endpoint", "person"]


async def wait_for_endpoint(run: Run, backend: Backend, span: str, error: SelenographError) -> Way:
    """Until the endpoint answers, or a person wants it to be tried at once; which of them.

    Raises ``error`` where the endpoint is there, so that waiting is of no use, and when it stays
    away for longer than anybody waits.
    """
    if not _may_wait(run) or await _answers(backend):
        raise error
    began = time.monotonic()
    message = error.message.removeprefix(f"{backend.name}: ")
    run.emit(ev.EndpointLost(backend.name, error.code, message, error.hint), span)
    with run.meter.paused(), run.gate.closed():
        look = asyncio.create_task(_until_it_answers(run, backend, span))
        go = asyncio.create_task(run.gate.opened())
        try:
            await asyncio.wait({look, go}, return_when=asyncio.FIRST_COMPLETED)
            by: Way = "person" if go.done() else "endpoint"
            if not go.done() and not look.result():
                raise error
        finally:
            look.cancel()
            go.cancel()
            await asyncio.gather(look, go, return_exceptions=True)
    run.emit(ev.EndpointBack(backend.name, time.monotonic() - began, by), span)
    return by


def _may_wait(run: Run) -> bool:
    """A run that nobody watches waits only for what has answered it before: an address that was
    wrong from the beginning is nobody's to mend meanwhile.
    """
    if run.rules.present() is None:
        return True
    turn = run.state.turn(run.turn)
    calls = [step.call for step in turn.steps if step.call is not None] if turn else []
    return any(call.ended and call.finish_reason not in ("error", "abort") for call in calls)


async def _answers(backend: Backend) -> bool:
    try:
        await backend.probe()
    except SelenographError:
        return False
    return True


async def _until_it_answers(run: Run, backend: Backend, span: str) -> bool:
    """False: it did not for as long as the run's patience lasts."""
    waited, looks, interval = 0.0, 1, 0
    while waited < run.patience.away:
        wait = run.patience.look(interval)
        looked = ev.EndpointLooked(looks, wait)
        run.journal.publish(run.conversation, looked, run.turn, span)
        # The network is often back a moment after the machine has woken.
        interval = 0 if await rest(wait) else interval + 1
        waited += wait
        if await _answers(backend):
            return True
        looks += 1
    return False
