"""A model call that is made again where that can help: after errors, and once for wrong calls."""

from __future__ import annotations

from dataclasses import replace

from app import events as ev
from app.agent import notes
from app.agent.away import wait_for_endpoint
from app.agent.model_call import Ask, Reply, ask_model
from app.agent.patience import rest
from app.agent.repair import Fault, faults_of, request_for
from app.agent.run import Run
from app.backends.base import Backend
from app.errors import SelenographError


async def ask_patiently(run: Run, backend: Backend, span: str, ask: Ask) -> Reply:
    """Ask, and ask again where that can help; what an attempt wrote that is not used is discarded.
    An endpoint that is gone is waited for.

    A reply whose calls cannot be made is written once more; the second is taken as it is. Raises
    what the last attempt raises, and BudgetSpent where the budget leaves none.
    """
    repaired = not ask.may_call
    attempt = returns = 0
    while True:
        attempt += 1
        if ask.of_budget:
            run.meter.check_reply()
            limits = run.meter.max_tokens, run.meter.thinking_left
            ask = replace(ask, max_tokens=limits[0], thinking=limits[1])
        try:
            reply = await ask_model(run, backend, span, ask)
            attempt = 0
            if run.redirected is not None:
                note, run.redirected = notes.go_on_from(run.redirected), None
                run.emit(note, span)
                continue
            faults = () if repaired else faults_of(run, reply)
            if not faults:
                return reply
            ask, repaired = _repairing(run, span, ask, faults), True
        except SelenographError as error:
            wait = run.patience.wait(attempt, error)
            if wait is not None:
                run.emit(ev.Retrying(attempt, wait, error.code, error.message), span)
                await rest(wait)
                continue
            if not run.patience.helps(error) or returns == run.patience.returns:
                raise
            by = await wait_for_endpoint(run, backend, span, error)
            # Whom a person has tried in vain is not tried five times more before the wait goes on.
            attempt = 0 if by == "endpoint" else run.patience.attempts - 1
            returns += by == "endpoint"


def _repairing(run: Run, span: str, ask: Ask, faults: tuple[Fault, ...]) -> Ask:
    """The same, with what was wrong."""
    run.repairs += 1
    calls = tuple(fault.call.name for fault in faults)
    run.emit(ev.RepairAsked(calls, tuple(fault.why for fault in faults), run.repairs), span)
    return replace(ask, last="\n\n".join(filter(None, (ask.last, request_for(faults)))))
