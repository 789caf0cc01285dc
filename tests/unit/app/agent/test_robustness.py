"""Endpoints that fail for a while, processes that die, machines that sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import events as ev
from app.agent.breaker import FAILURES, Breaker
from app.agent.drift import Drift
from app.agent.patience import Patience
from app.agent.repeats import Repeats
from app.backends.anthropic_http import AnthropicBackend
from app.backends.base import ModelRequest
from app.backends.scripted import Reply
from app.closing import NOT_BEGUN, UNKNOWN
from app.errors import BackendError, EngineLost, RequestError, ResourceError, SelenographError
from app.state import fold_all
from tests.unit.app.agent.bench import DONE, ECHO, Bench, Toy, assert_recorded
from tests.unit.app.backends import test_anthropic_http as anthropic
from tests.unit.app.backends.served import reply, serving, sse

Make = Callable[..., Bench]
GONE = BackendError("unreachable", "no route", retryable=True)


# -- retries -----------------------------------------------------------------------------------


async def test_a_step_starts_again_and_what_broke_is_not_sent_on(bench: Make) -> None:
    broken = Reply(reasoning="half a th", text="half an ans", error=GONE)
    called = Reply(reasoning="I call", calls=(("echo", '{"x": "7"}'),), error=GONE)
    b = bench(broken, called, ECHO, DONE)
    turn = await b.ask()
    assert (turn.status, turn.answer) == ("answered", "It is 12.")
    assert len(turn.steps) == 2, "the step was made again, not another one"
    assert len(turn.steps[0].tools) == 1
    assert len(b.bodies(ev.ToolStarted)) == 1
    first, second = b.bodies(ev.Retrying)
    assert (first.attempt, first.code, second.attempt) == (1, "unreachable", 2)
    assert second.wait > 0
    kept = [part.text for part in turn.steps[0].parts if not part.discarded]
    assert kept == ["let me look", '{"x": "12"}']
    assert len(turn.steps[0].parts) == 6
    sent = [m.content or "" for r in b.model.requests for m in r.messages]
    assert not any("half" in text for text in sent)
    assert b.model.requests[0].messages == b.model.requests[2].messages
    assert any("no route" in remark.text for remark in turn.steps[0].remarks)
    ids = [part.id for part in turn.steps[0].parts]
    assert len(set(ids)) == len(ids)
    assert_recorded(b)


async def test_the_prompt_of_a_step_that_was_asked_again_is_whole(bench: Make) -> None:
    b = bench(ECHO, Reply(text="half", error=GONE), Reply(text="half", error=GONE), DONE)
    turn = await b.ask()
    call = turn.steps[1].call
    assert call is not None and "tool: 12" in call.prompt
    assert call.prompt == "\n".join(f"{m.role}: {m.content}" for m in call.messages)
    assert [one.prompt for one in turn.steps[1].calls] == [call.prompt] * 3
    assert_recorded(b)


async def test_patience_ends(bench: Make) -> None:
    b = bench(Reply(text="x", error=GONE))
    turn = await b.ask()
    assert (turn.status, len(b.model.requests)) == ("failed", 4)
    assert turn.failure is not None and turn.failure.code == "unreachable"
    assert_recorded(b)


@pytest.mark.parametrize(
    "error",
    [
        BackendError("http_401", "no key"),
        RequestError("bad", "malformed", retryable=True),
        EngineLost("engine_lost", "gone", retryable=True),
    ],
)
async def test_what_trying_again_cannot_help(bench: Make, error: SelenographError) -> None:
    b = bench(Reply(text="x", error=error))
    turn = await b.ask()
    assert (turn.status, len(b.model.requests)) == ("failed", 1)
    assert b.bodies(ev.Retrying) == []


async def test_a_stop_while_waiting_to_try_again(bench: Make) -> None:
    late = BackendError("http_429", "slow down", retryable=True)
    late.retry_after = 200.0
    b = bench(Reply(error=late))
    id = b.send()
    waiting = (await b.until(ev.Retrying)).body
    assert isinstance(waiting, ev.Retrying) and waiting.wait >= 200
    await b.conversations.stop(b.id, "now")
    assert (await b.ended(id)).status == "stopped"
    assert_recorded(b)


@given(
    attempt=st.integers(1, 12),
    chance=st.floats(0, 1, exclude_max=True),
    asked=st.none() | st.floats(0, 1000),
)
def test_the_wait(attempt: int, chance: float, asked: float | None) -> None:
    patience = Patience()
    error = ResourceError("queue_full", "full", retryable=True)
    error.retry_after = asked
    wait = patience.wait(attempt, error, lambda: chance)
    if attempt >= patience.attempts or (asked or 0) > patience.longest:
        assert wait is None
        return
    assert wait is not None
    usual = min(patience.most, 2.0 ** (attempt - 1))
    assert max(asked or 0, usual / 2) <= wait <= max(asked or 0, usual / 2) + usual / 2


async def test_a_second_stop_does_not_break_into_the_first(bench: Make) -> None:
    tidied, tidy = asyncio.Event(), asyncio.Event()

    async def stubborn(x: str, output: Callable[[str], None]) -> str:
        b.tools.waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            await tidy.wait()
            tidied.set()
        return ""

    b = bench(Reply(calls=(("wait", "{}"),)))
    b.tools.put(Toy("wait", stubborn))
    id = b.send()
    async with asyncio.timeout(10):
        await b.tools.waiting.wait()
    stops = [asyncio.create_task(b.conversations.stop(b.id, "now")) for _ in range(2)]
    await asyncio.sleep(0.01)
    tidy.set()
    await asyncio.gather(*stops)
    assert (await b.ended(id)).status == "stopped"
    assert tidied.is_set()
    assert len(b.bodies(ev.StopAsked)) == 1
    assert_recorded(b)


# -- calls of unknown outcome ------------------------------------------------------------------


async def dies(b: Bench, call: str) -> str:
    """A run whose process dies while a call is at work; what a new process finds."""
    id = b.send(unattended=ev.Unattended(("*",)))
    async with asyncio.timeout(10):
        await b.tools.waiting.wait()
    _, task = b.conversations._runs[b.id]
    # As a dead process leaves it: nothing is written any more.
    stored = b.journal.events(b.id)
    task.cancel()
    await asyncio.wait([task])
    with b.database.transaction() as connection:
        connection.execute("DELETE FROM events WHERE seq > ?", (len(stored),))
        connection.execute("UPDATE conversations SET last_seq = ?", (len(stored),))
        row = (b.id, id, 2**22 + 1, 1.0)
        connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", row)
    b.journal._states.clear()
    assert b.journal.recover() == (b.id,)
    return id


async def test_a_call_that_was_running_is_marked_and_not_run_again_unasked(bench: Make) -> None:
    wait = ("wait", '{"x": "pay"}')
    b = bench(ECHO, Reply(calls=(("echo", '{"x": "1"}'), wait, ("write", "{}"))))
    b.tools.writes("wait")
    id = await dies(b, "wait")
    turn = b.state.turn(id)
    assert turn is not None and turn.status == "stopped"
    one, unknown, never = turn.steps[1].tools
    assert one.status == "ok"
    assert (unknown.status, unknown.result) == ("unknown", UNKNOWN)
    assert (never.status, never.result) == ("cancelled", NOT_BEGUN)

    b.model = type(b.model)([Reply(calls=(wait,)), DONE])
    b.tools.gate.set()
    b.seen.clear()
    b.conversations.resume(b.id, id, None)
    asked = (await b.until(ev.ApprovalAsked)).body
    assert isinstance(asked, ev.ApprovalAsked) and "may have done this already" in asked.reason
    assert [s.index for s in b.state.turns[0].steps] == [0, 1, 2], "the step is kept"
    told = [m.content for m in b.model.requests[0].messages if m.role == "tool"]
    assert told == ["12", "1", UNKNOWN, NOT_BEGUN]
    b.conversations.decide(b.id, asked.call, "once", "")
    turn = await b.ended(id)
    assert turn.status == "answered"
    assert turn.steps[2].tools[0].repeats == unknown.call
    assert turn.steps[2].tools[0].result == "waited"
    stored = fold_all(b.journal.events(b.id))
    assert stored.turns[0].steps[2].tools == turn.steps[2].tools


# -- sleep -------------------------------------------------------------------------------------


async def test_a_stream_that_a_sleep_cut_off_is_begun_again(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.agent.run._WAKING", 0.01)
    silent, never = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        silent.set()
        await never.wait()

    asked = 0

    def model(request: ModelRequest) -> Reply:
        nonlocal asked
        asked += 1
        return Reply(text="never", pause=pause) if asked == 1 else DONE

    b = bench(model=model)
    id = b.send()
    async with asyncio.timeout(10):
        await silent.wait()
    run, _ = b.conversations._runs[b.id]
    run.slept(3600.0)
    turn = await b.ended(id)
    assert turn.status == "answered"
    assert [one.code for one in b.bodies(ev.Retrying)] == ["stalled"]
    assert b.bodies(ev.ClockJumped) == [ev.ClockJumped(3600.0)]
    assert_recorded(b)


# -- an endpoint of Anthropic's form -----------------------------------------------------------


async def test_a_whole_turn_at_an_endpoint_of_anthropics_form(bench: Make) -> None:
    thought = [
        anthropic.block(0, type="thinking", thinking="let me look"),
        anthropic.delta(0, type="signature_delta", signature="sig"),
        anthropic.stop(0),
    ]
    call = anthropic.block(1, type="tool_use", id="toolu_1", name="echo", input={"x": "12"})
    answers = [
        reply(sse(*thought, call, *anthropic.last("tool_use"))),
        reply(sse(anthropic.OVERLOADED)),
        reply(sse(anthropic.block(0, type="text", text="It is 12."), *anthropic.last("end_turn"))),
    ]
    given_out = iter(answers)

    async def answer(writer: asyncio.StreamWriter) -> None:
        await next(given_out)(writer)

    b = bench(DONE)
    async with serving(answer) as server:
        b.other = AnthropicBackend(f"http://127.0.0.1:{server.port}/v1", "", "it")
        turn = await b.ask()
        await b.other.close()
    assert (turn.status, turn.answer) == ("answered", "It is 12.")
    assert [one.code for one in b.bodies(ev.Retrying)] == ["overloaded_error"]
    assert turn.steps[0].tools[0].call == "toolu_1"
    told = server.bodies[2]["messages"][1]["content"][0]
    assert told == {"type": "thinking", "thinking": "let me look", "signature": "sig"}
    assert_recorded(b)


# -- what a resumed run remembers --------------------------------------------------------------


async def test_loops_failures_and_drift_are_remembered_over_a_restart(bench: Make) -> None:
    same = Reply(calls=(("echo", '{"x": "12"}'),))
    b = bench(same, same, same, same, Reply(calls=(("fail", '{"x": "a"}'),)), DONE)
    turn = await b.ask()
    steps = turn.steps
    stuck = Repeats.of(replace(turn, steps=steps[:4]))
    assert stuck.stuck and not stuck.hopeless
    assert not Repeats.of(turn).stuck
    bad = replace(steps[4].tools[0], result="error: gone", status="error")
    failing = [replace(steps[4], index=n, tools=(bad,)) for n in range(FAILURES)]
    breaker = Breaker.of(replace(turn, steps=tuple(failing)))
    assert breaker.resting("fail", FAILURES) and not breaker.resting("echo", FAILURES)
    assert Drift().seen([*failing, *failing]) and not Drift.of([*failing, *failing]).seen(
        [*failing, *failing, *failing]
    )


async def test_a_tool_that_worked_again_rests_no_more(bench: Make) -> None:
    bad = tuple(("fail", f'{{"x": "bug", "n": {n}}}') for n in range(FAILURES))
    b = bench(Reply(calls=(*bad, ("fail", '{"x": "well"}'))), Reply(calls=bad[:1]), DONE)
    turn = await b.ask()
    assert (turn.status, turn.answer) == ("answered", "It is 12.")
    assert len(b.bodies(ev.ToolUnavailable)) == 1
    assert "oops" in turn.steps[1].tools[0].result
    assert not Breaker.of(turn).resting("fail", 2)
    assert_recorded(b)


async def test_calls_that_could_not_run_count_as_repetition_after_a_restart(bench: Make) -> None:
    nope = Reply(calls=(("nope", "{}"),))
    b = bench(nope, nope, DONE)
    turn = await b.ask()
    (tool,) = turn.steps[0].tools
    assert Repeats.of(turn).count(("nope", "{}")) == 1
    twice = replace(turn, steps=(turn.steps[0], replace(turn.steps[0], tools=(tool,))))
    assert Repeats.of(twice).forbidden() == (("nope", "{}"),)


async def test_what_a_person_said_survives_a_step_that_is_begun_anew(bench: Make) -> None:
    b = bench(Reply(calls=(("wait", "{}"),)), Reply(error=BackendError("http_401", "no key")), DONE)
    id = b.send()
    async with asyncio.timeout(10):
        await b.tools.waiting.wait()
    b.conversations.queue(b.id, "in metres, please")
    b.tools.gate.set()
    turn = await b.ended(id)
    assert turn.status == "failed"
    assert [type(note) for note in turn.steps[1].notes] == [ev.MessageTaken]
    b.conversations.resume(b.id, id, None)
    turn = await b.ended(id)
    assert (turn.status, turn.queued) == ("answered", ())
    said = [m.content for m in b.model.requests[-1].messages if m.role == "user"]
    assert said == ["go", "in metres, please"]
    assert_recorded(b)


async def test_who_hears_of_an_end_may_begin_again_at_once(bench: Make) -> None:
    b = bench(DONE)
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    made: list[str] = []

    def again() -> None:
        made.append(b.send("and now?"))
        begun.set()

    def hear(event: ev.Event) -> None:
        if isinstance(event.body, ev.TurnEnd) and not made:
            # As from another thread: in line before the task's own callbacks.
            loop.call_soon(again)

    b.journal._bus.subscribe(hear)
    b.send()
    async with asyncio.timeout(10):
        await begun.wait()
    turn = await b.ended(made[0])
    assert (turn.status, turn.text) == ("answered", "and now?")
    await asyncio.sleep(0)
    with pytest.raises(RequestError, match="no run"):
        b.conversations.pause(b.id)
    assert_recorded(b)


async def test_a_person_who_changes_its_thoughts_uses_up_no_patience(bench: Make) -> None:
    writing = asyncio.Event()

    async def pause() -> None:
        writing.set()
        await asyncio.sleep(0.01)

    asked = 0

    def model(request: ModelRequest) -> Reply:
        nonlocal asked
        asked += 1
        if asked <= 4:
            return Reply("wrong way " * 20, text="wrong", pause=pause)
        return Reply(text="x", error=GONE) if asked <= 6 else DONE

    b = bench(model=model)
    id = b.send()
    for n in range(4):
        async with asyncio.timeout(10):
            await writing.wait()
        writing.clear()
        b.conversations.edit_reasoning(b.id, b.state.turns[-1].steps[-1].span, f"way {n}")
        async with asyncio.timeout(10):
            while asked < n + 2:
                await asyncio.sleep(0.002)
    turn = await b.ended(id)
    assert (turn.status, turn.answer) == ("answered", "It is 12.")
    assert [one.attempt for one in b.bodies(ev.Retrying)] == [1, 2]
    names = [request.request_id for request in b.model.requests]
    assert len(set(names)) == len(names) == 7, "an engine may still be at work on the one before"


async def test_half_characters_end_no_run(bench: Make) -> None:
    half = Reply("hm \ud83d", calls=(("echo", '{"x": "\ud800"}'),))
    b = bench(half, Reply(text="done \udc00"))
    turn = await b.ask("what is \ud83d?")
    assert (turn.status, turn.answer) == ("answered", "done \ufffd")
    assert turn.steps[0].tools[0].result == "\ufffd"
    for request in b.model.requests:
        repr([m.content for m in request.messages]).encode()
    assert_recorded(b)
