"""Runs that nobody watches: what they may do, until when, and that it is on record."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app import events as ev
from app.backends.scripted import Reply
from app.errors import ConfigError, RequestError
from app.trust.policy import Rule
from tests.unit.app.agent.bench import DONE, Bench, assert_recorded

WRITE = Reply(calls=(("write", '{"x": "a"}'),))
OTHER = Reply(calls=(("write", '{"x": "b"}'),))


@pytest.fixture
async def b(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, [WRITE, OTHER, DONE])
    yield made
    await made.close()


async def test_only_what_the_scope_names_runs(b: Bench) -> None:
    turn = await b.ask(unattended=ev.Unattended(("write(x=a)",)))
    first, second = (step.tools[0] for step in turn.steps[:2])
    assert (first.status, first.decided_by, first.rule) == ("ok", "unattended", "write(x=a)")
    assert (second.status, second.decided_by) == ("denied", "unattended")
    assert "nobody is there" in second.result
    assert turn.unattended == ev.Unattended(("write(x=a)",))
    assert_recorded(b)


async def test_a_scope_of_the_conversation_ends_at_its_time(b: Bench) -> None:
    with pytest.raises(RequestError):
        b.conversations.set_unattended(b.id, ev.Unattended(("write",)))
    with pytest.raises(ConfigError):
        b.conversations.set_unattended(b.id, ev.Unattended(("write(",), time.time() + 9))
    b.conversations.set_unattended(b.id, ev.Unattended(("write",), time.time() - 1, "ask"))
    id = b.send()
    asked = (await b.until(ev.ApprovalAsked)).body
    assert isinstance(asked, ev.ApprovalAsked)
    b.conversations.set_unattended(b.id, ev.Unattended(("write",), time.time() + 600, "ask"))
    b.conversations.decide(b.id, asked.call, "once")
    turn = await b.ended(id)
    assert [step.tools[0].decided_by for step in turn.steps[:2]] == ["person", "unattended"]
    assert_recorded(b)


async def test_for_one_run_and_back_again(b: Bench) -> None:
    id = b.send()
    asked = (await b.until(ev.ApprovalAsked)).body
    assert isinstance(asked, ev.ApprovalAsked)
    b.conversations.set_unattended(b.id, ev.Unattended(("write",), otherwise="ask"))
    assert b.state.turns[0].unattended is not None and b.state.unattended is None
    b.conversations.set_unattended(b.id, None)
    assert b.state.turns[0].unattended is None
    b.seen.clear()
    b.conversations.decide(b.id, asked.call, "once")
    again = (await b.until(ev.ApprovalAsked)).body
    assert isinstance(again, ev.ApprovalAsked)
    b.conversations.decide(b.id, again.call, "deny", "enough")
    turn = await b.ended(id)
    assert "the user denied this call: enough" in turn.steps[1].tools[0].result


async def test_a_rule_that_denies_says_why(b: Bench) -> None:
    rules = (Rule("write"), Rule("write(x=b)", "deny", "b is taken"))
    b.settings = type(b.settings)(run=b.settings.run, approvals=rules)
    turn = await b.ask()
    first, second = (step.tools[0] for step in turn.steps[:2])
    assert (first.status, second.status) == ("ok", "denied")
    assert second.result == "error: a rule denied this call: b is taken"


async def test_a_wrong_pattern_or_wrong_arguments_leave_the_question_open(b: Bench) -> None:
    id = b.send()
    asked = (await b.until(ev.ApprovalAsked)).body
    assert isinstance(asked, ev.ApprovalAsked)
    with pytest.raises(ConfigError):
        b.conversations.decide(b.id, asked.call, "always", rule="write(")
    with pytest.raises(RequestError):
        b.conversations.decide(b.id, asked.call, "once", arguments="{")
    b.conversations.decide(b.id, asked.call, "run", rule="write", arguments='{"x": "z"}')
    turn = await b.ended(id)
    first, second = (step.tools[0] for step in turn.steps[:2])
    assert first.result.endswith("wrote z") and first.written == '{"x": "a"}'
    assert (first.rule, second.decided_by, second.rule) == ("write", "rule", "write")
    (edited,) = b.bodies(ev.ArgumentsEdited)
    assert (edited.before, edited.arguments) == ('{"x": "a"}', '{"x": "z"}')
    assert_recorded(b)
