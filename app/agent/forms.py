"""What a server asks a person for while one of its tools runs."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from app import events as ev
from app.tools.base import FormReply

if TYPE_CHECKING:
    from app.agent.run import Run


async def ask_form(
    run: Run, span: str, call: str, server: str, message: str, schema: dict[str, Any]
) -> FormReply:
    """Wait for a person; where nobody is there to be asked, it is declined. What was entered is not
    kept.
    """
    form = secrets.token_hex(6)
    run.emit(ev.FormAsked(call, form, server, message, schema), span)
    reply = FormReply("decline")
    scope = run.rules.present()
    if scope is None or scope.otherwise == "ask":
        with run.meter.paused():
            reply = await run.desk.wait_form(run.conversation, form)
    run.emit(ev.FormAnswered(call, form, server, reply.action), span)
    return reply
