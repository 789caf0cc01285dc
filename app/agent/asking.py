"""A model call that is made again where that can help."""

from __future__ import annotations

import asyncio
from itertools import count

from app import events as ev
from app.agent import notes
from app.agent.model_call import Ask, Reply, ask_model
from app.agent.run import Run
from app.backends.base import Backend
from app.errors import SelenographError


async def ask_patiently(run: Run, backend: Backend, span: str, ask: Ask) -> Reply:
    """Ask, and ask again where that can help; what a broken attempt wrote is discarded."""
    for attempt in count(1):
        try:
            reply = await ask_model(run, backend, span, ask)
            if run.redirected is None:
                return reply
            note, run.redirected = notes.go_on_from(run.redirected), None
            run.emit(note, span)
        except SelenographError as error:
            wait = run.patience.wait(attempt, error)
            if wait is None:
                raise
            run.emit(ev.Retrying(attempt, wait, error.code, error.message), span)
            await asyncio.sleep(wait)
    raise AssertionError("count never ends")
