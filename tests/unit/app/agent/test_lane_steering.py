"""What holds for all lanes of a heavy run at work: budget, approvals, rules, pauses, words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from app import events as ev
from app.agent.notes import CHANGED
from app.backends.base import ModelRequest
from app.backends.scripted import Reply
from app.errors import RequestError
from tests.unit.app.agent.bench import Bench, assert_recorded
from tests.unit.app.agent.lanes import FOUR, is_last_pass, seeded

Make = Callable[..., Bench]


async def test_tokens_are_those_of_all_lanes(bench: Make) -> None:
    limit = ev.Budget(steps=50, tokens=60)
    b = bench(
        model=lambda r: (
            Reply(text="12")
            if not r.may_call
            else Reply(
                "one two three four", calls=(("echo", f'{{"x": "{len(r.messages)}"}}'),), chunk=2
            )
        )
    )
    turn = await b.ask(settings=msgspec.structs.replace(FOUR, budget=limit))
    assert turn.status == "answered"
    assert {lane.status for lane in turn.lanes} == {"budget"}
    acted = sum(
        step.call.usage.completion_tokens
        for lane in turn.lanes
        for step in lane.steps
        if step.call and step.purpose == "act"
    )
    each = max(s.call.usage.completion_tokens for lane in turn.lanes for s in lane.steps if s.call)
    assert 60 <= acted < 60 + 4 * each
    assert_recorded(b)


async def test_each_lane_asks_by_its_own_address_and_a_rule_holds_for_all(bench: Make) -> None:
    def model(request: ModelRequest) -> Reply:
        if is_last_pass(request) or request.messages[-1].role == "tool":
            return Reply(text="12")
        return Reply(calls=(("write", '{"x": "a"}'),))

    b = bench(model=model)
    id = b.send(settings=FOUR)
    async with asyncio.timeout(10):
        while len(b.bodies(ev.ApprovalAsked)) < 4:
            await asyncio.sleep(0.002)
    lanes = b.state.turns[-1].lanes
    with pytest.raises(RequestError, match="does not wait"):
        b.conversations.decide(b.id, "functions.write:0", "once", "")
    decisions: tuple[ev.Decision, ...] = ("once", "deny", "once", "once")
    for lane, decision in zip(lanes, decisions, strict=True):
        b.conversations.decide(b.id, f"{lane.id}/functions.write:0", decision, "")
    turn = await b.ended(id)
    found = [lane.steps[0].tools[0].status for lane in turn.lanes]
    assert found == ["ok", "denied", "ok", "ok"]
    assert_recorded(b)


async def test_a_rule_does_not_let_a_lane_change_what_all_share(bench: Make) -> None:
    def model(request: ModelRequest) -> Reply:
        if is_last_pass(request) or request.messages[-1].role == "tool":
            return Reply(text="12")
        return Reply(calls=(("write", '{"x": "a"}'),))

    b = bench(model=model)
    id = b.send(settings=msgspec.structs.replace(FOUR, lanes=2))
    async with asyncio.timeout(10):
        while len(b.bodies(ev.ApprovalAsked)) < 2:
            await asyncio.sleep(0.002)
    first, second = b.state.turns[-1].lanes
    b.conversations.decide(b.id, f"{first.id}/functions.write:0", "run", "")
    async with asyncio.timeout(10):
        while (b.state.turn(first.id) or first).status == "running":
            await asyncio.sleep(0.002)
    asked = (b.state.turn(second.id) or second).steps[0].tools[0]
    assert asked.waiting
    assert "lane 2 of several" in asked.asked
    b.conversations.decide(b.id, f"{second.id}/functions.write:0", "deny", "")
    assert (await b.ended(id)).status == "answered"
    assert_recorded(b)


async def test_all_lanes_pause_hear_and_go_on(bench: Make) -> None:
    b = bench(model=seeded(lambda n: Reply(text="12"), Reply(text="It is 12.")))
    b.conversations.set_breakpoints(b.id, (ev.Breakpoint("tool", "echo"),))
    id = b.send(settings=FOUR)
    async with asyncio.timeout(10):
        while len(b.bodies(ev.Paused)) < 4:
            await asyncio.sleep(0.002)
    lanes = b.state.turns[-1].lanes
    assert all(lane.paused for lane in lanes)
    b.conversations.edit_call(b.id, f"{lanes[1].id}/functions.echo:0", '{"x": "edited"}')
    b.conversations.queue(b.id, "in whole numbers")
    b.conversations.queue(b.id, "never mind")
    withdrawn = b.state.turns[-1].lanes[0].queued[1].id
    b.conversations.unqueue(b.id, withdrawn)
    with pytest.raises(RequestError, match="heard it already"):
        b.conversations.unqueue(b.id, withdrawn)
    b.conversations.proceed(b.id, "go")
    turn = await b.ended(id)
    assert [lane.steps[0].tools[0].result for lane in turn.lanes] == [
        "1",
        CHANGED + "edited",
        "3",
        "4",
    ]
    heard = [r for r in b.model.requests if "in whole numbers" in repr(r.messages)]
    assert len(heard) == 4 or len(heard) == 5
    assert not any("never mind" in repr(r.messages) for r in b.model.requests)
    assert_recorded(b)


async def test_a_pause_before_the_lanes_begin_holds_them_all(bench: Make) -> None:
    b = bench(model=seeded(lambda n: Reply(text="12"), Reply(text="It is 12.")))
    id = b.send(settings=FOUR)
    b.conversations.pause(b.id)
    paused = (await b.until(ev.Paused)).body
    assert isinstance(paused, ev.Paused) and paused.where == "step"
    turn = b.state.turn(id)
    assert turn is not None and turn.paused is not None and not turn.pausing
    assert (turn.lanes, b.model.requests) == ((), [])
    b.conversations.proceed(b.id, "go")
    turn = await b.ended(id)
    assert (turn.status, len(b.bodies(ev.Paused))) == ("answered", 1)
    assert_recorded(b)


async def test_the_last_pass_can_be_held_and_hears_what_is_said(bench: Make) -> None:
    writing, go_on = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        writing.set()
        await go_on.wait()

    async def at_once() -> None:
        pass

    passes = 0

    def model(request: ModelRequest) -> Reply:
        nonlocal passes
        if not is_last_pass(request):
            return Reply(text=f"A long answer, number {request.sampling.seed}.\nIn its own words.")
        passes += 1
        return Reply(text=f"pass {passes}", pause=pause if passes == 1 else at_once)

    b = bench(model=model)
    id = b.send(settings=FOUR)
    async with asyncio.timeout(10):
        await writing.wait()
    b.conversations.queue(b.id, "in whole numbers")
    go_on.set()
    turn = await b.ended(id)
    assert (turn.status, turn.answer, turn.queued) == ("answered", "pass 2", ())
    told = b.model.requests[-1].messages
    assert "in whole numbers" in [m.content for m in told]
    assert "pass 1" in [m.content for m in told]
    assert is_last_pass(b.model.requests[-1])
    assert_recorded(b)


async def test_a_lane_can_be_taken_further_alone(bench: Make) -> None:
    b = bench(model=seeded(lambda n: Reply(text=f"lane {n} says 12"), Reply(text="It is 12.")))
    turn = await b.ask(settings=FOUR)
    lane = turn.lanes[1]
    made = b.conversations.fork(b.id, lane.id, 1)
    forked = await b.ended(made)
    assert (forked.lanes, forked.answer) == ((), "lane 2 says 12")
    assert forked.steps[0].tools[0].result == "2"
    assert b.state.siblings(forked) == b.state.turns
    assert_recorded(b)
