"""Limits: told before they are reached, and at them an answer from what is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import events as ev
from app.agent import budget
from app.agent.budget import PRESETS, Meter, budget_of
from app.backends.base import ModelRequest, Prices, Traits
from app.backends.scripted import Reply
from app.errors import BackendError, BudgetSpent
from app.events import Budget
from app.state import Turn
from engine.protocol import CompletionTokensDetails, PromptTokensDetails, Usage
from tests.unit.app.agent.bench import DONE, ECHO, RUN, Bench, Toy, assert_recorded

Make = Callable[..., Bench]


def within(**limits: float) -> ev.RunSettings:
    budget = msgspec.structs.replace(Budget(steps=0), **limits)
    return msgspec.structs.replace(RUN, budget=budget)


def acted(turn: Turn) -> int:
    return sum(step.purpose == "act" for step in turn.steps)


def stubborn(request: ModelRequest) -> Reply:
    """Calls a tool as long as it is told of any."""
    if request.tools:
        return Reply(calls=(("echo", f'{{"x": "{len(request.messages)}"}}'),), chunk=3)
    return Reply(text="As far as I got: 12.")


def willing(request: ModelRequest) -> Reply:
    """Answers when it may not call."""
    return stubborn(request) if request.may_call else Reply(text="I conclude.")


@pytest.mark.parametrize(
    ("limits", "steps"), [({"steps": 2}, 2), ({"tokens": 7}, 2), ({"steps": 9, "tokens": 3}, 1)]
)
async def test_a_run_never_ends_empty_handed(
    bench: Make, limits: dict[str, float], steps: int
) -> None:
    b = bench(model=stubborn)
    turn = await b.ask(settings=within(**limits))
    assert (turn.status, turn.answer) == ("budget", "As far as I got: 12.")
    assert turn.interrupted is not None and turn.interrupted.cause == "budget"
    assert acted(turn) == steps
    concluding = [step for step in turn.steps if step.purpose == "conclude"]
    assert len(concluding) == 2, "it called a tool all the same and was asked without"
    assert concluding[0].tools[0].result == "error: not run: the run is being concluded"
    assert concluding[0].notes[-1].code == "conclude"
    first, second = b.model.requests[-2:]
    assert first.tools == b.model.requests[0].tools, "the prompt begins as before"
    assert not first.may_call and not second.tools
    assert len(b.bodies(ev.ToolStarted)) == steps
    assert_recorded(b)


async def test_one_reply_is_enough_to_conclude(bench: Make) -> None:
    b = bench(model=willing)
    turn = await b.ask(settings=within(steps=3))
    assert turn.answer == "I conclude."
    assert len(turn.steps) == 4
    assert "limit of 3 steps" in (b.model.requests[-1].messages[-1].content or "")


async def test_nothing_but_results(bench: Make) -> None:
    b = bench(ECHO)
    turn = await b.ask(settings=within(steps=1))
    assert turn.status == "budget"
    assert turn.answer.endswith("12") and "last result" in turn.answer
    assert_recorded(b)


async def test_an_endpoint_that_fails_at_the_end(bench: Make) -> None:
    def model(request: ModelRequest) -> Reply:
        error = BackendError("teapot", "no")
        return ECHO if request.may_call else Reply(text="so f", error=error)

    b = bench(model=model)
    turn = await b.ask(settings=within(steps=1))
    assert (turn.status, turn.answer) == ("budget", "so f")
    assert_recorded(b)


async def test_it_is_told_once_that_a_limit_is_near(bench: Make) -> None:
    b = bench(model=willing)
    turn = await b.ask(settings=within(steps=10))
    noted = [step.index for step in turn.steps if any(n.code == "budget_near" for n in step.notes)]
    assert noted == [8]
    assert b.bodies(ev.BudgetNear) == [ev.BudgetNear("steps", 9, 10)]
    last = b.model.requests[8].messages[-1]
    assert last.role == "user" and "9 of 10 steps" in (last.content or "")
    assert any("9 of 10 steps" in r.text for r in turn.steps[8].remarks)
    # It stays where it was told, so that the prompt's beginning does not change.
    told = b.model.requests[8].messages
    assert b.model.requests[9].messages[: len(told)] == told


async def test_seconds_end_a_tool_and_leave_an_answer(bench: Make) -> None:
    def model(request: ModelRequest) -> Reply:
        return Reply(calls=(("wait", "{}"),)) if request.may_call else Reply(text="too slow")

    for limit in ("seconds", "tool_seconds"):
        b = bench(model=model)
        turn = await b.ask(settings=within(**{limit: 0.05}))
        assert (turn.status, turn.answer) == ("budget", "too slow")
        assert turn.steps[0].tools[0].status == "cancelled"
        assert turn.steps[0].ended
        assert_recorded(b)


async def test_seconds_end_a_reply_and_its_thoughts_are_told(bench: Make) -> None:
    never = asyncio.Event()

    async def pause() -> None:
        if len(b.seen) > 8:
            await never.wait()

    def model(request: ModelRequest) -> Reply:
        if request.may_call:
            return Reply(reasoning="seven times six is forty-two", pause=pause, chunk=4)
        return Reply(text="42")

    b = bench(model=model)
    turn = await b.ask(settings=within(seconds=0.1))
    assert (turn.status, turn.answer) == ("budget", "42")
    assert "seven" in (b.model.requests[-1].messages[-1].content or "")
    assert b.model.cut == 1
    assert_recorded(b)


async def test_a_stop_while_concluding(bench: Make) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        begun.set()
        await never.wait()

    b = bench(model=lambda r: ECHO if r.may_call else Reply(text="x", pause=pause))
    id = b.send(settings=within(steps=1))
    async with asyncio.timeout(10):
        await begun.wait()
    await b.conversations.stop(b.id, "now")
    assert (await b.ended(id)).status == "stopped"
    assert_recorded(b)


# -- thinking ----------------------------------------------------------------------------------


async def test_a_remote_endpoint_is_left_when_it_thinks_too_long(bench: Make) -> None:
    b = bench(Reply(reasoning="abcd" * 50, text="late", chunk=4), DONE)
    turn = await b.ask(settings=within(step_thinking=10))
    assert turn.answer == "It is 12."
    assert turn.steps[0].call is not None
    assert turn.steps[0].call.finish_reason == "thinking_limit"
    assert turn.steps[0].parts[0].text == "abcd" * 10
    assert b.bodies(ev.ThinkingCut) == [ev.ThinkingCut(10, "program")]
    assert "abcd" * 10 in (b.model.requests[1].messages[-1].content or "")
    assert b.model.cut == 1
    assert_recorded(b)


async def test_thinking_that_never_ends_is_concluded(bench: Make) -> None:
    def model(request: ModelRequest) -> Reply:
        return Reply(reasoning="hm " * 50, chunk=3) if request.may_call else DONE

    b = bench(model=model)
    turn = await b.ask(settings=within(step_thinking=5))
    assert (turn.status, turn.answer) == ("budget", "It is 12.")
    assert acted(turn) == 2
    b = bench(model=model)
    turn = await b.ask(settings=within(thinking=7))
    assert (turn.status, turn.answer) == ("budget", "It is 12.")


async def test_our_engine_is_asked_to_close_the_reasoning_itself(bench: Make) -> None:
    b = bench(ECHO, DONE)
    b.model.traits = Traits(closes_reasoning=True)
    turn = await b.ask(settings=within(thinking=100, step_thinking=90))
    assert turn.status == "answered"
    assert [r.thinking for r in b.model.requests] == [90, 90]
    b = bench(Reply(reasoning="x" * 8 * 30, calls=ECHO.calls), DONE)
    b.model.traits = Traits(closes_reasoning=True)
    await b.ask(settings=within(thinking=100))
    assert [r.thinking for r in b.model.requests] == [100, 70]


async def test_a_reply_cut_at_its_length(bench: Make) -> None:
    b = bench(Reply(text="It is", finish="length"))
    turn = await b.ask(settings=msgspec.structs.replace(RUN, effort="fast"))
    assert (turn.status, turn.answer) == ("budget", "It is")
    assert b.model.requests[0].sampling.max_tokens == 2048
    b = bench(Reply(reasoning="hm", finish="length"), DONE)
    turn = await b.ask()
    assert (turn.status, turn.answer) == ("budget", "It is 12.")


# -- resuming, money, clocks -------------------------------------------------------------------


async def test_what_was_used_still_counts_after_a_stop_but_not_after_a_limit(bench: Make) -> None:
    b = bench(model=willing)
    id = (await b.ask(settings=within(steps=2))).id
    b.conversations.resume(b.id, id, None)
    turn = await b.ended(id)
    assert acted(turn) == 4, "a person let it go on: another two steps"
    assert [s.index for s in turn.steps] == list(range(6))

    waits = bench(ECHO, Reply(calls=(("wait", "{}"),)), ECHO, DONE)
    id = waits.send(settings=within(steps=2))
    async with asyncio.timeout(10):
        await waits.tools.waiting.wait()
    await waits.conversations.stop(waits.id, "now")
    await waits.ended(id)
    waits.conversations.resume(waits.id, id, None)
    turn = await waits.ended(id)
    assert turn.status == "budget"
    assert acted(turn) == 2


async def test_cost(bench: Make) -> None:
    b = bench(model=willing)
    b.model.traits = Traits(prices=Prices(prompt=0.0, completion=1e6))
    turn = await b.ask(settings=within(cost=6.5))
    assert turn.status == "budget"
    assert acted(turn) == 2, "four tokens a step at a price of one each"


def test_prices() -> None:
    usage = Usage(1000, 100, 1100, PromptTokensDetails(600), CompletionTokensDetails(40))
    assert Prices(2.0, 10.0).cost(usage) == pytest.approx(0.003)
    assert Prices(2.0, 10.0, 0.5).cost(usage) == pytest.approx(0.0021)


async def test_sleep_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    meter = Meter(Budget(seconds=100), slept.append)
    async with meter.clock():
        now, wall = time.monotonic, budget.since_boot
        monkeypatch.setattr(time, "monotonic", lambda: now() + 500)
        assert meter.shares()[1].used < 5
        monkeypatch.setattr(budget, "since_boot", lambda: wall() + 3000)
        assert meter.shares()[1].used < 5
        monkeypatch.undo()
    assert len(slept) == 2 and slept[0] == pytest.approx(500, abs=5)
    assert slept[1] == pytest.approx(3000, abs=5)


async def test_waiting_for_a_person_is_not_counted() -> None:
    meter = Meter(Budget(seconds=0.05))
    async with meter.clock():
        with meter.paused():
            await asyncio.sleep(0.15)
    with pytest.raises(BudgetSpent, match=r"0\.05 s"):
        async with meter.clock():
            await asyncio.Event().wait()


def test_presets() -> None:
    assert PRESETS["deep"].thinking == 96 * 1024
    assert (PRESETS["exam"].steps, PRESETS["exam"].step_thinking) == (120, 48 * 1024)
    assert (PRESETS["search"].steps, PRESETS["search"].step_thinking) == (300, 24 * 1024)
    assert budget_of(ev.RunSettings(effort="exam")) is PRESETS["exam"]
    own = Budget(steps=3)
    assert budget_of(ev.RunSettings(effort="exam", budget=own)) is own


@given(
    budget=st.builds(Budget, st.integers(0, 9), st.integers(0, 50), thinking=st.integers(0, 30)),
    calls=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=20),
)
def test_no_step_begins_beyond_a_limit(budget: Budget, calls: list[tuple[int, int]]) -> None:
    meter = Meter(budget)
    for answer, thought in calls:
        try:
            meter.begin_step()
        except BudgetSpent:
            assert any(share.part >= 1 for share in meter.shares())
            return
        assert meter.max_tokens is None or meter.max_tokens > 0
        assert meter.thinking_left is None or meter.thinking_left > 0
        details = CompletionTokensDetails(thought)
        made = answer + thought
        meter.add(Usage(completion_tokens=made, completion_tokens_details=details))
    assert not budget.steps or meter.used.steps <= budget.steps


# -- replies that do not count -----------------------------------------------------------------


async def test_what_a_lost_attempt_took_is_not_there_for_the_next(bench: Make) -> None:
    lost = Reply("one two three four", chunk=2, error=BackendError("x", "x", retryable=True))
    b = bench(lost, lost, DONE)
    turn = await b.ask(settings=within(tokens=100, thinking=50))
    assert turn.status == "answered"
    limits = [(r.sampling.max_tokens, r.thinking) for r in b.model.requests]
    assert limits == [(100, 50), (91, 41), (82, 32)]


@pytest.mark.parametrize("limit", ["tokens", "thinking"])
async def test_a_reply_is_not_written_again_beyond_a_limit(bench: Make, limit: str) -> None:
    wrong = Reply("one two three four", calls=(("nope", "{}"),), chunk=2)
    b = bench(model=lambda request: wrong if request.may_call else Reply(text="I conclude."))
    turn = await b.ask(settings=within(**{limit: 5}))
    assert (turn.status, turn.answer) == ("budget", "I conclude.")
    assert [r.may_call for r in b.model.requests] == [True, False]
    assert_recorded(b)


def test_where_little_is_left_for_many_it_is_not_unlimited() -> None:
    whole = Meter(Budget(tokens=100, thinking=100))
    whole.sharers = 8
    lane = Meter(whole.budget, whole=whole)
    details = CompletionTokensDetails(97)
    lane.add(Usage(completion_tokens=97, completion_tokens_details=details))
    assert (lane.max_tokens, lane.thinking_left) == (1, 1)


async def test_a_run_that_goes_on_remembers_every_attempt(bench: Make) -> None:
    lost = Reply("one two three four", chunk=2, error=BackendError("x", "x", retryable=True))
    wrong = Reply("so", calls=(("nope", "{}"),))
    b = bench(lost, wrong, ECHO, Reply(calls=(("wait", "{}"),)), DONE)
    id = b.send()
    async with asyncio.timeout(10):
        await b.tools.waiting.wait()
    run, _ = b.conversations._runs[b.id]
    turn = b.state.turn(id)
    assert turn is not None
    before = budget.used_before(turn, Prices())
    assert (before.tokens, before.thinking) == (run.meter.used.tokens, run.meter.used.thinking)
    assert before.tokens == 9 + 3 + 5 + 2
    b.tools.gate.set()
    await b.ended(id)


async def test_tools_side_by_side_count_once_after_a_restart_too(bench: Make) -> None:
    async def nap(x: str, output: Callable[[str], None]) -> str:
        await asyncio.sleep(0.2)
        return x

    calls = tuple(("echo", f'{{"x": "{n}"}}') for n in range(4))
    b = bench(Reply(calls=calls), DONE)
    b.tools.put(Toy("echo", nap))
    turn = await b.ask()
    each = sum(tool.seconds for tool in turn.steps[0].tools)
    assert 0.2 <= budget.used_before(turn, Prices()).tool_seconds < each / 2


async def test_a_reply_that_was_never_acted_on_counts_after_a_restart(bench: Make) -> None:
    b = bench(ECHO, Reply("hm hm hm", calls=(("write", '{"x": "a"}'),), chunk=2), DONE)
    id = b.send()
    await b.until(ev.ApprovalAsked)
    run, _ = b.conversations._runs[b.id]
    used = run.meter.used.tokens
    await b.conversations.stop(b.id, "now")
    b.conversations.resume(b.id, id, None)
    turn = b.state.turn(id)
    assert turn is not None and len(turn.steps) == 1, "the step is begun anew"
    assert budget.used_before(turn, Prices()).tokens == used
    await b.ended(id)


async def test_a_reply_that_was_cut_off_counts_as_far_as_it_came(bench: Make) -> None:
    writing, never = asyncio.Event(), asyncio.Event()
    pieces = 0

    async def pause() -> None:
        nonlocal pieces
        pieces += 1
        if pieces == 5:
            writing.set()
            await never.wait()

    b = bench(Reply("one two three", text="four", chunk=2, pause=pause), DONE)
    id = b.send()
    async with asyncio.timeout(10):
        await writing.wait()
    await b.conversations.stop(b.id, "now")
    turn = await b.ended(id)
    call = turn.steps[0].call
    assert call is not None and call.finish_reason == "abort"
    assert call.usage.completion_tokens == 4
    assert call.usage.completion_tokens_details.reasoning_tokens == 4
