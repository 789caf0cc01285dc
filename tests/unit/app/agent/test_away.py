"""Runs whose endpoint goes away and comes back, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from app import events as ev
from app.agent.patience import Patience, rest
from app.backends.openai_http import OpenAIBackend
from app.errors import RequestError
from app.remarks import remark
from app.state import Turn
from tests.unit.app.agent.bench import RUN, Bench, assert_recorded
from tests.wavering import HALF, Wavering, calls, says

LOOKS = Patience(attempts=2, first=0.001, first_look=0.02, most=0.04)
SELDOM = replace(LOOKS, first_look=60.0, most=60.0)
ECHO = calls("echo", '{"x": "12"}')
Make = Callable[..., tuple[Bench, Wavering]]


@pytest.fixture
async def at(bench: Callable[..., Bench]) -> AsyncIterator[Make]:
    """A bench whose model is at an endpoint that sends these replies."""
    made: list[tuple[OpenAIBackend, Wavering]] = []

    def make(*replies: bytes | int, patience: Patience = LOOKS) -> tuple[Bench, Wavering]:
        b, server = bench(model=lambda request: pytest.fail("not asked")), Wavering(replies)
        backend = OpenAIBackend(server.url, "", "moonshot", False)
        b.other, b.conversations._patience = backend, patience
        made.append((backend, server))
        return b, server

    yield make
    for backend, server in made:
        await backend.close()
        await asyncio.to_thread(server.go)


def turn_of(b: Bench) -> Turn:
    return b.state.turns[-1]


async def test_it_waits_goes_on_by_itself_and_runs_no_call_twice(at: Make) -> None:
    b, server = at(ECHO, HALF, says("It is 12."))
    id = b.send(settings=RUN.__class__(tools=("echo",), budget=ev.Budget(seconds=1.0)))
    lost = (await b.until(ev.EndpointLost)).body
    assert isinstance(lost, ev.EndpointLost)
    assert (lost.endpoint, lost.code, lost.message) == (
        "moonshot", "unreachable", "connection refused",
    )  # fmt: skip
    turn = turn_of(b)
    assert turn.status == "running" and turn.paused is not None and turn.away is not None
    assert turn.paused.where == "endpoint"
    assert [part.discarded for part in turn.steps[1].parts] == [True]
    await asyncio.sleep(1.2)
    assert turn_of(b).status == "running", "the wait counts against no limit"
    looked = b.bodies(ev.EndpointLooked)
    assert [one.wait for one in looked[:3]] == [0.02, 0.04, 0.04]
    await asyncio.to_thread(server.come)
    turn = await b.ended(id)
    assert (turn.status, turn.answer) == ("answered", "It is 12.")
    assert turn.paused is None and turn.away is None
    (back,) = b.bodies(ev.EndpointBack)
    assert back.by == "endpoint" and back.seconds > 1
    assert len(turn.steps) == 2, "the step was made again, not another one"
    assert len(b.bodies(ev.ToolStarted)) == 1
    assert not any("half" in str(request) for request in server.asked)
    words = [one.text for one in turn.steps[1].remarks]
    assert "Waiting for moonshot to answer again (connection refused)" in words
    said = f"answers again after {back.seconds:.0f} s; the step begins anew"
    assert any(said in text for text in words)
    assert_recorded(b)


async def test_a_person_has_it_tried_at_once(at: Make) -> None:
    b, server = at(HALF, says("Here."), patience=SELDOM)
    id = b.send()
    await b.until(ev.EndpointLost)
    b.conversations.proceed(b.id, "go")
    async with asyncio.timeout(10):
        while len(b.bodies(ev.EndpointLost)) < 2:
            await asyncio.sleep(0.01)
    assert len(b.bodies(ev.Retrying)) == 1, "in vain, and once only"
    await asyncio.to_thread(server.come)
    b.conversations.proceed(b.id, "go")
    turn = await b.ended(id)
    assert (turn.status, turn.answer) == ("answered", "Here.")
    assert [one.by for one in b.bodies(ev.EndpointBack)] == ["person", "person"]
    with pytest.raises(RequestError, match="no run goes on"):
        b.conversations.proceed(b.id, "go")
    assert_recorded(b)


async def test_stop_while_it_waits_and_resume(at: Make) -> None:
    b, server = at(ECHO, HALF, says("Here."), patience=SELDOM)
    id = b.send()
    await b.until(ev.EndpointLost)
    await b.conversations.stop(b.id, "now")
    turn = await b.ended(id)
    assert turn.status == "stopped" and turn.away is None and turn.paused is None
    assert_recorded(b)
    await asyncio.to_thread(server.come)
    b.conversations.resume(b.id, id, None)
    turn = await b.ended(id)
    assert (turn.status, turn.answer) == ("answered", "Here.")
    assert len(b.bodies(ev.ToolStarted)) == 1


async def test_what_a_person_may_change_meanwhile(at: Make) -> None:
    b, server = at(ECHO, HALF, says("Here."), patience=SELDOM)
    id = b.send()
    await b.until(ev.EndpointLost)
    first, second = turn_of(b).steps
    with pytest.raises(RequestError, match="asked for anew"):
        b.conversations.edit_reasoning(b.id, second.span, "no")
    b.conversations.edit_result(b.id, first.tools[0].call, "13")
    await asyncio.to_thread(server.come)
    b.conversations.proceed(b.id, "go")
    await b.ended(id)
    assert server.asked[-1]["messages"][-1]["content"] == "13"


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "key"), (400, "model's name"), (404, "model's name"), (402, "paid")],
)
async def test_what_no_waiting_helps_fails_at_once(at: Make, status: int, hint: str) -> None:
    b, server = at(status)
    turn = await b.ask()
    assert turn.status == "failed" and turn.failure is not None
    assert hint in turn.failure.hint
    assert len(server.asked) == 1
    assert b.bodies(ev.EndpointLost, ev.Retrying) == []


async def test_a_refusal_after_it_came_back(at: Make) -> None:
    b, server = at(HALF, 401)
    id = b.send()
    await b.until(ev.EndpointLost)
    await asyncio.to_thread(server.come)
    turn = await b.ended(id)
    assert turn.status == "failed" and turn.failure is not None
    assert turn.failure.code == "http_401"
    assert_recorded(b)


async def test_an_endpoint_that_is_there_and_fails_is_not_waited_for(at: Make) -> None:
    b, server = at(503)
    turn = await b.ask()
    assert turn.status == "failed"
    assert (len(server.asked), server.probes) == (2, 1)
    assert b.bodies(ev.EndpointLost) == []


async def test_what_a_request_brings_down_each_time_is_left_alone_at_last(at: Make) -> None:
    b, server = at(HALF, patience=replace(LOOKS, attempts=1, returns=2))
    id = b.send()
    for count in (1, 2):
        async with asyncio.timeout(10):
            while len(b.bodies(ev.EndpointLost)) < count:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(server.come)
    turn = await b.ended(id)
    assert turn.status == "failed"
    assert len(server.asked) == 3
    assert_recorded(b)


async def test_patience_ends_some_day(at: Make) -> None:
    b, _ = at(HALF, patience=replace(LOOKS, away=0.1))
    turn = await b.ask()
    assert turn.status == "failed" and turn.failure is not None
    assert turn.failure.code == "unreachable"
    assert 3 <= len(b.bodies(ev.EndpointLooked)) <= 4
    assert_recorded(b)


@pytest.mark.parametrize("reached", [True, False])
async def test_unwatched_runs_wait_only_for_what_was_there(at: Make, reached: bool) -> None:
    b, server = at(*([ECHO, HALF] if reached else [HALF]), says("Here."))
    if not reached:
        await asyncio.to_thread(server.go)
    id = b.send(unattended=ev.Unattended())
    if reached:
        await b.until(ev.EndpointLost)
        await asyncio.to_thread(server.come)
    turn = await b.ended(id)
    assert turn.status == ("answered" if reached else "failed")
    assert bool(b.bodies(ev.EndpointLost)) == reached


async def test_lanes_wait_and_go_on_together(at: Make) -> None:
    b, server = at(HALF, says("The answer is 12."), patience=replace(LOOKS, first_look=0.3))
    await asyncio.to_thread(server.go)
    settings = ev.RunSettings(tools=("echo",), effort="heavy", lanes=3)
    id = b.send(settings=settings)
    async with asyncio.timeout(10):
        while sum(lane.away is not None for lane in turn_of(b).lanes) < 3:
            await asyncio.sleep(0.01)
    server.replies.pop(0)
    await asyncio.to_thread(server.come)
    turn = await b.ended(id)
    assert turn.status == "answered" and "12" in turn.answer
    assert all(lane.answer and lane.away is None for lane in turn.lanes)
    assert_recorded(b)


async def test_a_sleep_ends_a_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    began = asyncio.get_running_loop().time()
    assert await rest(0.05) is False
    assert asyncio.get_running_loop().time() - began >= 0.05
    at = iter([0.0, 0.0, 3600.0, 3600.0])
    monkeypatch.setattr("app.agent.patience.since_boot", lambda: next(at))
    monkeypatch.setattr("app.agent.patience._TICK", 0.01)
    async with asyncio.timeout(5):
        assert await rest(60.0) is True


async def test_a_clock_that_is_set_back_delays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    at = iter([3600.0, *[0.0] * 100])
    monkeypatch.setattr("app.agent.patience.since_boot", lambda: next(at))
    monkeypatch.setattr("app.agent.patience._TICK", 0.01)
    async with asyncio.timeout(5):
        assert await rest(0.05) is False


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (11_100, "3 h 5 min")]
)
def test_spans(seconds: float, words: str) -> None:
    told = remark(ev.EndpointBack("it", seconds, "endpoint"))
    assert told is not None and f"after {words};" in told[1]
