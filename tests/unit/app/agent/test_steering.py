"""Pause, step, breakpoints, edits, queued messages, forks."""

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
from app.events import Breakpoint
from tests.unit.app.agent.bench import DONE, ECHO, RUN, Bench, assert_recorded

Make = Callable[..., Bench]
WRITE = Reply(calls=(("write", '{"x": "a"}'),))


async def paused(b: Bench) -> ev.Paused:
    """The next pause."""
    async with asyncio.timeout(10):
        while not (b.state.turns and b.state.turns[-1].paused):
            await asyncio.sleep(0.002)
    found = b.state.turns[-1].paused
    assert found is not None
    return found


def echoes(count: int) -> list[Reply]:
    return [Reply(f"thought {n}", calls=(("echo", f'{{"x": "{n}"}}'),)) for n in range(count)]


# -- breakpoints of a run that goes on ---------------------------------------------------------


async def test_a_step_that_was_passed_holds_nothing_any_more(bench: Make) -> None:
    wait = Reply(calls=(("wait", "{}"),))
    b = bench(*echoes(2), wait, *echoes(4)[2:], DONE)
    b.conversations.set_breakpoints(b.id, (Breakpoint("step", number=2),))
    id = b.send()
    assert (await paused(b)).reason == "before step 2"
    b.conversations.proceed(b.id, "go")
    async with asyncio.timeout(10):
        await b.tools.waiting.wait()
    await b.conversations.stop(b.id, "now")
    b.tools.gate.set()
    numbers = (2, 1, 5)
    b.conversations.set_breakpoints(b.id, tuple(Breakpoint("step", number=n) for n in numbers))
    b.conversations.resume(b.id, id, None)
    assert (await paused(b)).reason == "before step 5"
    b.conversations.proceed(b.id, "go")
    turn = await b.ended(id)
    assert (turn.status, len(b.bodies(ev.Paused))) == ("answered", 2)
    assert_recorded(b)


# -- pause and step ----------------------------------------------------------------------------


async def test_pause_step_and_continue(bench: Make) -> None:
    b = bench(*echoes(3), DONE)
    b.send()
    b.conversations.pause(b.id)
    assert (await paused(b)).where == "step"
    assert b.model.requests == []
    for steps in (1, 2):
        b.conversations.proceed(b.id, "step")
        assert (await paused(b)).reason == "asked by a person"
        assert len(b.model.requests) == steps
    b.conversations.proceed(b.id, "go")
    turn = await b.ended(b.state.turns[-1].id)
    assert turn.status == "answered" and turn.paused is None
    assert_recorded(b)


async def test_a_pause_while_a_tool_runs_holds_after_it(bench: Make) -> None:
    b = bench(Reply(calls=(("wait", "{}"),)), DONE)
    id = b.send()
    async with asyncio.timeout(10):
        await b.tools.waiting.wait()
    b.conversations.pause(b.id)
    b.tools.gate.set()
    assert (await paused(b)).where == "result"
    b.conversations.edit_result(b.id, "functions.wait:0", "it was edited")
    b.conversations.proceed(b.id, "go")
    turn = await b.ended(id)
    assert b.model.requests[1].messages[-1].content == "it was edited"
    assert turn.steps[0].tools[0].returned == "waited"
    assert_recorded(b)


async def test_stop_while_paused(bench: Make) -> None:
    b = bench(DONE)
    id = b.send()
    b.conversations.pause(b.id)
    await paused(b)
    await b.conversations.stop(b.id, "now")
    turn = await b.ended(id)
    assert (turn.status, turn.paused) == ("stopped", None)
    assert_recorded(b)


async def test_a_pause_costs_no_time(bench: Make) -> None:
    b = bench(*echoes(1), DONE)
    id = b.send(settings=msgspec.structs.replace(RUN, budget=ev.Budget(seconds=5)))
    b.conversations.pause(b.id)
    await paused(b)
    run, _ = b.conversations._runs[b.id]
    await asyncio.sleep(0.1)
    assert run.meter.used.seconds < 0.1
    b.conversations.proceed(b.id, "go")
    assert (await b.ended(id)).status == "answered"


# -- breakpoints -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "where", "asked", "reason"),
    [
        (Breakpoint("tool", "fail"), "call", 3, "before fail"),
        (Breakpoint("error"), "result", 3, "fail failed"),
        (Breakpoint("text", "THOUGHT 1"), "call", 2, "“THOUGHT 1” was said"),
        (Breakpoint("text", "no file"), "result", 3, "“no file” was said"),
        (Breakpoint("step", number=3), "step", 2, "before step 3"),
        (Breakpoint("budget", number=40), "step", 2, "40 % of the budget are used"),
    ],
)
async def test_a_breakpoint_holds_where_it_says(
    bench: Make, point: Breakpoint, where: str, asked: int, reason: str
) -> None:
    b = bench(*echoes(2), Reply(calls=(("fail", '{"x": "y"}'),)), DONE)
    b.conversations.set_breakpoints(b.id, (point,))
    id = b.send(settings=msgspec.structs.replace(RUN, budget=ev.Budget(steps=5)))
    found = await paused(b)
    assert (found.where, found.reason, len(b.model.requests)) == (where, reason, asked)
    b.conversations.proceed(b.id, "go")
    turn = await b.ended(id)
    assert turn.status == "answered"
    assert len(b.bodies(ev.Paused)) == 1
    assert b.state.breakpoints == (point,)
    assert any(reason in r.text for s in turn.steps for r in s.remarks)
    assert_recorded(b)


# -- edits -------------------------------------------------------------------------------------


async def test_a_call_is_edited_before_it_is_approved(bench: Make) -> None:
    b = bench(WRITE, DONE)
    id = b.send()
    await b.until(ev.ApprovalAsked)
    with pytest.raises(RequestError, match="not JSON"):
        b.conversations.edit_call(b.id, "functions.write:0", "{")
    b.conversations.edit_call(b.id, "functions.write:0", '{"x": "better"}')
    b.conversations.decide(b.id, "functions.write:0", "once", "")
    turn = await b.ended(id)
    tool = turn.steps[0].tools[0]
    assert (tool.result, tool.arguments, tool.written) == (
        CHANGED + "wrote better",
        '{"x": "better"}',
        '{"x": "a"}',
    )
    assert b.model.requests[1].messages[-2].tool_calls[0].function.arguments == '{"x": "better"}'
    with pytest.raises(RequestError, match="no run"):
        b.conversations.edit_call(b.id, "functions.write:0", "{}")
    assert_recorded(b)


async def test_a_call_is_edited_at_a_breakpoint(bench: Make) -> None:
    b = bench(ECHO, DONE)
    b.conversations.set_breakpoints(b.id, (Breakpoint("tool", "echo"),))
    id = b.send()
    await paused(b)
    b.conversations.edit_call(b.id, "functions.echo:0", '{"x": "13"}')
    b.conversations.proceed(b.id, "go")
    turn = await b.ended(id)
    assert turn.steps[0].tools[0].result == CHANGED + "13"
    assert_recorded(b)


async def test_the_reasoning_of_a_finished_reply(bench: Make) -> None:
    b = bench(ECHO, DONE)
    b.conversations.set_breakpoints(b.id, (Breakpoint("tool", "echo"),))
    id = b.send()
    await paused(b)
    b.conversations.edit_reasoning(b.id, b.state.turns[0].steps[0].span, "I was told to look")
    b.conversations.proceed(b.id, "go")
    turn = await b.ended(id)
    assert b.model.requests[1].messages[-2].reasoning_content == "I was told to look"
    assert turn.steps[0].parts[0].text == "let me look", "what the model wrote is kept"
    assert_recorded(b)


async def test_the_reasoning_that_is_being_written(bench: Make) -> None:
    thinking, go_on = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        if len(b.seen) > 8:
            thinking.set()
            await go_on.wait()

    asked = 0

    def model(request: ModelRequest) -> Reply:
        nonlocal asked
        asked += 1
        return Reply("wrong way " * 20, text="wrong", pause=pause) if asked == 1 else DONE

    b = bench(model=model)
    id = b.send()
    async with asyncio.timeout(10):
        await thinking.wait()
    with pytest.raises(RequestError, match="no step"):
        b.conversations.edit_reasoning(b.id, "x", "y")
    b.conversations.edit_reasoning(b.id, b.state.turns[0].steps[0].span, "right way")
    go_on.set()
    turn = await b.ended(id)
    assert (turn.answer, len(turn.steps)) == ("It is 12.", 1)
    told = b.model.requests[1].messages[-1].content or ""
    assert "right way" in told and "wrong" not in told
    assert b.model.cut == 1
    assert turn.steps[0].parts[0].discarded
    assert_recorded(b)


async def test_what_needs_a_pause(bench: Make) -> None:
    b = bench(Reply(calls=(("wait", "{}"),)), DONE)
    with pytest.raises(RequestError, match="no run"):
        b.conversations.pause(b.id)
    id = b.send()
    async with asyncio.timeout(10):
        await b.tools.waiting.wait()
    for command in (
        lambda: b.conversations.proceed(b.id, "go"),
        lambda: b.conversations.edit_result(b.id, "functions.wait:0", "x"),
        lambda: b.conversations.edit_reasoning(b.id, b.state.turns[0].steps[0].span, "x"),
    ):
        with pytest.raises(RequestError, match="not paused"):
            command()
    with pytest.raises(RequestError, match="wait any more"):
        b.conversations.edit_call(b.id, "functions.wait:0", "{}")
    b.tools.gate.set()
    await b.ended(id)


# -- messages ----------------------------------------------------------------------------------


async def test_a_message_for_the_next_step(bench: Make) -> None:
    b = bench(Reply(calls=(("wait", "{}"),)), DONE, DONE)
    id = b.send("go")
    async with asyncio.timeout(10):
        await b.tools.waiting.wait()
    b.conversations.queue(b.id, "and be brief")
    assert [m.text for m in b.state.turns[0].queued] == ["and be brief"]
    b.tools.gate.set()
    turn = await b.ended(id)
    last = b.model.requests[1].messages[-1]
    assert (last.role, last.content) == ("user", "and be brief")
    assert turn.queued == ()
    assert len(turn.steps) == 2
    with pytest.raises(RequestError, match="no run"):
        b.conversations.queue(b.id, "too late")
    assert_recorded(b)


async def test_a_message_during_the_last_reply_gets_an_answer_too(bench: Make) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        begun.set()
        await go_on.wait()

    b = bench(Reply(text="first answer", pause=pause), Reply(text="second answer"))
    id = b.send()
    async with asyncio.timeout(10):
        await begun.wait()
    b.conversations.queue(b.id, "and now?")
    go_on.set()
    turn = await b.ended(id)
    assert turn.answer == "second answer"
    assert [m.content for m in b.model.requests[1].messages[-2:]] == ["first answer", "and now?"]


async def test_a_run_that_concludes_hears_what_is_queued(bench: Make) -> None:
    def model(request: ModelRequest) -> Reply:
        return Reply(calls=(("wait", "{}"),)) if request.may_call else Reply(text="I conclude.")

    b = bench(model=model)
    id = b.send(settings=msgspec.structs.replace(RUN, budget=ev.Budget(steps=1)))
    async with asyncio.timeout(10):
        await b.tools.waiting.wait()
    b.conversations.queue(b.id, "and be brief")
    b.tools.gate.set()
    turn = await b.ended(id)
    assert (turn.status, turn.answer, turn.queued) == ("budget", "I conclude.", ())
    assert "and be brief" in [m.content for m in b.model.requests[-1].messages]
    assert_recorded(b)


async def test_what_was_allowed_is_what_runs(bench: Make) -> None:
    b = bench(WRITE, DONE)
    id = b.send()
    asked = (await b.until(ev.ApprovalAsked)).body
    assert isinstance(asked, ev.ApprovalAsked)
    await asyncio.sleep(0)
    b.conversations.decide(b.id, asked.call, "once")
    with pytest.raises(RequestError, match="does not wait"):
        b.conversations.decide(b.id, asked.call, "once", arguments='{"x": "b"}')
    with pytest.raises(RequestError, match="does not wait any more"):
        b.conversations.edit_call(b.id, asked.call, '{"x": "c"}')
    turn = await b.ended(id)
    assert turn.steps[0].tools[0].result == "wrote a"
    assert_recorded(b)


# -- stopping ----------------------------------------------------------------------------------


async def test_a_stop_after_the_step_while_held_before_one(bench: Make) -> None:
    b = bench(*echoes(2), DONE)
    id = b.send()
    b.conversations.pause(b.id)
    await paused(b)
    b.conversations.proceed(b.id, "step")
    await paused(b)
    await b.conversations.stop(b.id, "after_step")
    turn = await b.ended(id)
    assert (turn.status, len(turn.steps), len(b.model.requests)) == ("stopped", 1, 1)
    assert turn.paused is None
    b.conversations.resume(b.id, id, None)
    assert (await b.ended(id)).status == "answered"
    assert_recorded(b)


# -- forks -------------------------------------------------------------------------------------


async def test_fork_from_any_step(bench: Make) -> None:
    b = bench(*echoes(3), DONE, Reply(text="another end"))
    first = await b.ask("go")
    made = b.conversations.fork(b.id, first.id, 2)
    turn = await b.ended(made)
    assert turn.answer == "another end"
    assert turn.steps[:2] == first.steps[:2]
    assert len(turn.steps) == 3
    assert [t.id for t in b.state.path()] == [made]
    assert {t.id for t in b.state.siblings(turn)} == {first.id, made}
    said = [m.content for m in b.model.requests[-1].messages if m.role == "tool"]
    assert said == ["0", "1"]
    assert b.state.turn(first.id) == first
    with pytest.raises(RequestError, match="no 9 finished steps"):
        b.conversations.fork(b.id, first.id, 9)
    assert_recorded(b)


async def test_fork_edit_and_go_on(bench: Make) -> None:
    b = bench(*echoes(2), DONE, Reply(text="It is 99."))
    first = await b.ask()
    made = b.conversations.fork(b.id, first.id, 1, paused=True)
    await paused(b)
    b.conversations.edit_result(b.id, "functions.echo:0", "99")
    b.conversations.proceed(b.id, "go")
    turn = await b.ended(made)
    assert turn.answer == "It is 99."
    assert b.model.requests[-1].messages[-1].content == "99"
    before = b.state.turn(first.id)
    assert before is not None and before.steps[0].tools[0].result == "0"
    assert_recorded(b)


async def test_again_with_other_settings(bench: Make) -> None:
    b = bench(DONE)
    first = await b.ask()
    hot = msgspec.structs.replace(RUN, temperature=1.2, model="other")
    again = await b.ended(b.conversations.regenerate(b.id, first.id, hot))
    assert again.settings == hot
    assert b.model.requests[1].model == "other"
    assert b.model.requests[1].sampling.temperature == 1.2
