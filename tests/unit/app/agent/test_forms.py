"""What a server asks a person while its tool runs, and who answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from app import events as ev
from app.backends.scripted import Reply
from app.tools.base import ToolContext
from tests.unit.app.agent.bench import DONE, Bench, Toy, assert_recorded

Make = Callable[..., Bench]


class Asking(Toy):
    """Its result is what the person said."""

    def __init__(self) -> None:
        super().__init__("echo", None)

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        assert context.ask is not None
        reply = await context.ask("trial", "Who are you?", {})
        return f"{reply.action} {reply.content.get('name', '')}".strip()


def asking(bench: Make) -> Bench:
    b = bench(Reply(calls=(("echo", "{}"),)), DONE)
    b.tools._toys["echo"] = Asking()
    return b


@pytest.mark.parametrize(
    "scope",
    [
        None,
        ev.Unattended(until=time.time() - 60),
        ev.Unattended(until=time.time() + 3600, otherwise="ask"),
    ],
    ids=["at the desk", "back again", "asked all the same"],
)
async def test_a_person_who_can_be_asked_is_asked(bench: Make, scope: ev.Unattended | None) -> None:
    b = asking(bench)
    id = b.send(unattended=scope)
    asked = (await b.until(ev.FormAsked)).body
    assert isinstance(asked, ev.FormAsked)
    await asyncio.sleep(0)
    b.conversations.answer_form(b.id, asked.form, "accept", {"name": "Emma"})
    turn = await b.ended(id)
    assert turn.steps[0].tools[0].result == "accept Emma"
    assert_recorded(b)


async def test_where_nobody_is_there_it_is_declined(bench: Make) -> None:
    b = asking(bench)
    turn = await b.ask(unattended=ev.Unattended())
    assert turn.steps[0].tools[0].result == "decline"
    assert b.bodies(ev.FormAnswered)[0].action == "decline"
    assert_recorded(b)
