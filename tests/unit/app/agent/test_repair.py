"""Calls that cannot be made: the model is asked once more, which is counted and shown."""

from __future__ import annotations

from collections.abc import Callable

from app import events as ev
from app.backends.scripted import Reply
from app.errors import BackendError
from tests.unit.app.agent.bench import DONE, Bench, assert_recorded

Make = Callable[..., Bench]
WRONG = Reply("Hm.", "So.", calls=(("echo", '{"x": "0"}'), ("nope", "{}"), ("echo", "{")))
RIGHT = Reply("Aha.", calls=(("echo", '{"x": "1"}'),))


async def test_a_second_reply_takes_the_place_of_the_first(bench: Make) -> None:
    b = bench(WRONG, RIGHT, DONE)
    turn = await b.ask()
    assert turn.status == "answered"
    first, _ = turn.steps
    assert [tool.result for tool in first.tools] == ["1"]
    (asked,) = b.bodies(ev.RepairAsked)
    assert asked.calls == ("nope", "echo")
    assert asked.problems == ("there is no tool of that name", "the arguments are not JSON")
    assert asked.count == 1
    assert any("asked to write them again" in remark.text for remark in first.remarks)
    told = b.model.requests[1].messages[-1].content or ""
    assert "nope {}" in told and "the arguments are not JSON" in told
    # What was wrong is in the record, and never sent again.
    assert [part.discarded for part in first.parts] == [True] * 5 + [False] * 2
    later = [m for m in b.model.requests[2].messages if m.role == "assistant"]
    assert [m.reasoning_content for m in later] == ["Aha."]
    assert not any("not used" in (m.content or "") for m in b.model.requests[2].messages)
    assert_recorded(b)


async def test_there_is_one_round_a_step(bench: Make) -> None:
    b = bench(WRONG, WRONG, WRONG, RIGHT, DONE)
    turn = await b.ask()
    assert turn.status == "answered"
    assert [len(step.tools) for step in turn.steps] == [3, 1, 0]
    assert [tool.status for tool in turn.steps[0].tools] == ["ok", "error", "error"]
    assert [asked.count for asked in b.bodies(ev.RepairAsked)] == [1, 2]
    assert any("2 times in this run" in r.text for r in turn.steps[1].remarks)


async def test_a_repair_that_breaks_off_is_made_again(bench: Make) -> None:
    gone = BackendError("unreachable", "it is gone", retryable=True)
    b = bench(WRONG, Reply("Half", error=gone), RIGHT, DONE)
    turn = await b.ask()
    assert turn.status == "answered"
    assert [tool.result for tool in turn.steps[0].tools] == ["1"]
    assert len(b.bodies(ev.RepairAsked)) == 1 and len(b.bodies(ev.Retrying)) == 1
    assert "not used" in (b.model.requests[2].messages[-1].content or "")
    assert_recorded(b)


async def test_nothing_is_repaired_where_nothing_may_be_called(bench: Make) -> None:
    b = bench(*[RIGHT] * 5, WRONG)
    turn = await b.ask()
    assert turn.interrupted is not None and turn.interrupted.cause == "loop"
    assert [request.may_call for request in b.model.requests] == [True] * 5 + [False]
    assert not b.bodies(ev.RepairAsked)
