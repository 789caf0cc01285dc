"""Whole turns with a scripted model and toy tools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from app import events as ev
from app.agent import history
from app.backends.scripted import Reply
from app.closing import CANCELLED
from app.errors import BackendError, EngineLost, RequestError
from app.store.db import Database
from tests.unit.app.agent.bench import DONE, ECHO, RUN, Bench, assert_recorded

Make = Callable[..., Bench]
WRITE = Reply(calls=(("write", '{"x": "a"}'),))


async def test_calls_results_answer(bench: Make) -> None:
    b = bench(ECHO, DONE)
    turn = await b.ask("what is it?")
    assert turn.status == "answered"
    assert turn.answer == "It is 12."
    first, second = turn.steps
    assert [part.kind for part in first.parts] == ["reasoning", "tool_call"]
    assert first.tools[0].result == "12"
    assert first.tools[0].call == "functions.echo:0"
    assert second.parts[-1].text == "It is 12."
    assert second.call is not None
    assert [m.role for m in second.call.messages] == ["system", "user", "assistant", "tool"]
    assert second.call.messages[2].reasoning_content == "let me look"
    assert second.call.messages[3].tool_call_id == "functions.echo:0"
    assert second.call.usage.completion_tokens_details.reasoning_tokens == 1
    assert b.state.title == "what is it?"
    assert_recorded(b)


async def test_reading_tools_run_side_by_side(bench: Make) -> None:
    calls = tuple(("echo", f'{{"x": "{n}"}}') for n in range(3))
    b = bench(Reply(calls=calls), DONE)
    turn = await b.ask()
    assert b.tools.most_at_once == 3
    assert [tool.result for tool in turn.steps[0].tools] == ["0", "1", "2"]
    results = [m.content for m in b.model.requests[1].messages if m.role == "tool"]
    assert results == ["0", "1", "2"]


async def test_a_wrong_call_becomes_a_result(bench: Make) -> None:
    calls = (("nope", "{}"), ("echo", "{"), ("fail", '{"x": "a.txt"}'), ("fail", '{"x": "bug"}'))
    b = bench(Reply(calls=calls), Reply(calls=calls), DONE)
    turn = await b.ask()
    assert turn.status == "answered"
    assert [tool.result for tool in turn.steps[0].tools] == [
        "error: unknown tool nope",
        "error: the arguments are not JSON",
        "error: no file named a.txt",
        "error: the tool failed: ZeroDivisionError: oops",
    ]
    assert {tool.status for tool in turn.steps[0].tools} == {"error"}
    assert_recorded(b)


async def test_a_disabled_tool_is_unknown(bench: Make) -> None:
    b = bench(ECHO, ECHO, DONE)
    turn = await b.ask(settings=msgspec.structs.replace(RUN, tools=("write",)))
    assert turn.steps[0].tools[0].result == "error: unknown tool echo"
    assert [spec.function.name for spec in b.model.requests[0].tools] == ["write"]


async def test_ids_are_unique_on_a_branch(bench: Make) -> None:
    b = bench(ECHO, DONE)
    await b.ask()
    b.model.requests.clear()
    await b.ask("again")
    ids = [tool.call for turn in b.state.path() for step in turn.steps for tool in step.tools]
    assert ids == ["functions.echo:0", "functions.echo:1"]


# -- approval ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("decision", "asked"), [("once", 2), ("run", 1), ("always", 2)])
async def test_a_decision_holds_as_long_as_it_says(
    bench: Make, decision: ev.Decision, asked: int
) -> None:
    b = bench(WRITE, WRITE, DONE)
    turn = b.send()
    await b.until(ev.ApprovalAsked)
    tool = b.state.turns[0].steps[0].tools[0]
    assert tool.waiting
    b.conversations.decide(b.id, tool.call, decision, "")
    if asked == 2:
        b.seen.clear()
        await b.until(ev.ApprovalAsked)
        b.conversations.decide(b.id, "functions.write:1", "once", "")
    done = await b.ended(turn)
    assert [step.tools[0].decided_by for step in done.steps[:2]] == [
        "person",
        "person" if asked == 2 else "rule",
    ]
    assert done.steps[0].tools[0].output == "writing a"
    assert done.steps[0].tools[0].result == "wrote a"
    assert [rule.pattern for rule in b.always] == (["write"] if decision == "always" else [])


async def test_denied_with_a_reason(bench: Make) -> None:
    b = bench(WRITE, DONE)
    turn = b.send()
    await b.until(ev.ApprovalAsked)
    b.conversations.decide(b.id, "functions.write:0", "deny", "not today")
    done = await b.ended(turn)
    assert done.steps[0].tools[0].status == "denied"
    assert done.steps[0].tools[0].result == "error: the user denied this call: not today"
    assert not b.bodies(ev.ToolStarted)
    assert_recorded(b)


async def test_nobody_watches(bench: Make) -> None:
    b = bench(WRITE, DONE, WRITE, DONE)
    allowed = await b.ask(unattended=ev.Unattended(("*",)))
    assert allowed.steps[0].tools[0].result == "wrote a"
    assert allowed.steps[0].tools[0].decided_by == "unattended"
    denied = await b.ask(unattended=ev.NOBODY)
    assert denied.steps[0].tools[0].status == "denied"
    assert_recorded(b)


async def test_a_decision_nobody_waits_for(bench: Make) -> None:
    b = bench(DONE)
    with pytest.raises(RequestError, match="does not wait"):
        b.conversations.decide(b.id, "functions.write:0", "once", "")


# -- stops and errors --------------------------------------------------------------------------


async def test_stop_now_while_a_tool_runs_and_resume(bench: Make) -> None:
    b = bench(ECHO, Reply(calls=(("wait", "{}"),)), DONE)
    id = b.send()
    async with asyncio.timeout(10):
        await b.tools.waiting.wait()
    await b.conversations.stop(b.id, "now")
    turn = await b.ended(id)
    assert turn.status == "stopped"
    assert turn.interrupted == ev.Interrupted("user")
    assert turn.steps[1].tools[0].status == "cancelled"
    assert_recorded(b)
    b.conversations.resume(b.id, id, None)
    turn = await b.ended(id)
    assert turn.status == "answered"
    assert [step.index for step in turn.steps] == [0, 1, 2], "a call had begun: the step is kept"
    assert turn.steps[0].tools[0].result == "12"
    assert turn.steps[1].tools[0].status == "cancelled"
    assert b.model.requests[-1].messages[-1].content == CANCELLED
    assert turn.interrupted is None
    assert_recorded(b)


async def test_stop_now_in_mid_reply(bench: Make) -> None:
    writing, never = asyncio.Event(), asyncio.Event()
    count = 0

    async def pause() -> None:
        nonlocal count
        count += 1
        if count == 4:
            writing.set()
            await never.wait()

    b = bench(Reply(text="word " * 20, chunk=5, pause=pause))
    id = b.send()
    async with asyncio.timeout(10):
        await writing.wait()
    await b.conversations.stop(b.id, "now")
    turn = await b.ended(id)
    assert b.model.cut == 1
    assert turn.steps[0].parts[0].text == "word " * 3
    assert turn.steps[0].call is not None
    assert turn.steps[0].call.finish_reason == "abort"
    assert_recorded(b)
    # What was said stays in the history of the next turn.
    said = [m.content for m in history.messages(b.state.path()) if m.role == "assistant"]
    assert said == ["word " * 3]


async def test_stop_after_the_step(bench: Make) -> None:
    b = bench(Reply(calls=(("wait", "{}"),)), DONE)
    id = b.send()
    async with asyncio.timeout(10):
        await b.tools.waiting.wait()
    await b.conversations.stop(b.id, "after_step")
    assert b.state.turns[0].stopping == "after_step"
    b.tools.gate.set()
    turn = await b.ended(id)
    assert turn.status == "stopped"
    assert turn.steps[0].tools[0].result == "waited"
    assert len(b.model.requests) == 1
    assert_recorded(b)


async def test_stop_before_the_first_line_ran(bench: Make) -> None:
    b = bench(DONE)
    id = b.send()
    await b.conversations.stop(b.id, "now")
    turn = await b.ended(id)
    assert turn.status == "stopped"
    assert not b.model.requests
    assert_recorded(b)


async def test_stop_while_asked(bench: Make) -> None:
    b = bench(WRITE, DONE)
    id = b.send()
    await b.until(ev.ApprovalAsked)
    await b.conversations.stop(b.id, "now")
    turn = await b.ended(id)
    assert turn.steps[0].tools[0].status == "cancelled"
    assert not turn.steps[0].tools[0].waiting
    assert_recorded(b)


async def test_closing_interrupts(bench: Make) -> None:
    b = bench(Reply(calls=(("wait", "{}"),)), DONE)
    id = b.send()
    async with asyncio.timeout(10):
        await b.tools.waiting.wait()
    await b.conversations.close()
    turn = b.state.turn(id)
    assert turn is not None
    assert turn.status == "stopped"
    assert turn.interrupted == ev.Interrupted("shutdown")
    assert b.journal.summaries()[0].interrupted
    assert_recorded(b)


async def test_engine_lost_and_resumed(bench: Make) -> None:
    lost = EngineLost("engine_lost", "the engine process ended", "restart the engine")
    b = bench(ECHO, Reply(text="It is", error=lost), DONE)
    id = b.send()
    turn = await b.ended(id)
    assert turn.status == "failed"
    assert turn.interrupted is not None
    assert turn.interrupted.cause == "engine_lost"
    assert turn.failure is not None
    assert turn.failure.hint == "restart the engine"
    assert turn.steps[1].parts[0].text == "It is"
    assert_recorded(b)
    b.conversations.resume(b.id, id, None)
    turn = await b.ended(id)
    assert turn.status == "answered"
    assert len(turn.steps) == 2
    with pytest.raises(RequestError, match="nothing left"):
        b.conversations.resume(b.id, id, None)


async def test_an_endpoint_that_answers_nonsense(bench: Make) -> None:
    b = bench(Reply(error=BackendError("http_500", "it broke", "try later", retryable=True)))
    turn = await b.ask()
    assert turn.failure == ev.Failed("http_500", "it broke", "try later", True)
    assert turn.interrupted is None
    assert_recorded(b)


async def test_a_reply_that_only_thinks_is_asked_again_once(bench: Make) -> None:
    thinks = Reply(reasoning="hm")
    b = bench(thinks, DONE)
    turn = await b.ask()
    assert turn.status == "answered"
    assert turn.steps[0].call is not None
    assert turn.steps[0].call.problems[0][0] == "empty_reply"
    assert b.model.requests[0].messages == b.model.requests[1].messages
    b = bench(thinks)
    turn = await b.ask()
    assert turn.failure is not None
    assert turn.failure.code == "empty_reply"
    assert len(b.model.requests) == 3
    assert "hm" in (b.model.requests[2].messages[-1].content or ""), "it is told its own thought"
    assert_recorded(b)


# -- branches ----------------------------------------------------------------------------------


async def test_regenerate_edit_and_select(bench: Make) -> None:
    b = bench(DONE)
    first = (await b.ask("one")).id
    second = (await b.ask("two")).id
    again = b.conversations.regenerate(b.id, first)
    await b.ended(again)
    assert [t.id for t in b.state.path()] == [again]
    assert b.state.path()[0].text == "one"
    edited = b.conversations.edit(b.id, second, "three")
    turn = await b.ended(edited)
    assert turn.parent == first
    assert [m.content for m in b.model.requests[-1].messages if m.role == "user"] == [
        "one",
        "three",
    ]
    b.conversations.select(b.id, again)
    assert b.state.selected == again
    b.conversations.select(b.id, first)
    assert b.state.selected == edited
    assert len(b.state.siblings(turn)) == 2
    assert_recorded(b)


async def test_what_cannot_be_sent(bench: Make) -> None:
    b = bench(Reply(calls=(("wait", "{}"),)), DONE)
    with pytest.raises(RequestError, match="nothing to send"):
        b.send("  ")
    id = b.send()
    with pytest.raises(RequestError, match="worked on"):
        b.send()
    with pytest.raises(RequestError, match="no conversation"):
        b.conversations.send("x", "hello", None, None)
    b.tools.gate.set()
    await b.ended(id)
    with pytest.raises(RequestError, match="no turn"):
        b.conversations.edit(b.id, "x", "hello")


async def test_deleting_stops_the_run(bench: Make) -> None:
    b = bench(Reply(calls=(("wait", "{}"),)), DONE)
    b.send()
    async with asyncio.timeout(10):
        await b.tools.waiting.wait()
    await b.conversations.delete(b.id)
    assert b.journal.summaries() == ()
    assert b.state.turns[0].status == "stopped"
    b.conversations.restore(b.id)
    assert [s.id for s in b.journal.summaries()] == [b.id]


# -- a full disk -------------------------------------------------------------------------------


async def test_a_full_disk_ends_the_run_and_loses_nothing(bench: Make, tmp_path: Path) -> None:
    b = bench(ECHO, Reply(text="x" * 200_000, chunk=5000), DONE)
    b.database.limit_pages(b.database.rows("PRAGMA page_count")[0][0] + 6)
    id = b.send()
    turn = await b.ended(id)
    assert turn.status == "failed"
    assert turn.failure is not None
    assert turn.failure.code == "disk_full"
    assert turn.steps[0].tools[0].result == "12"
    assert b.live.turns[0].failure == turn.failure
    b.database.limit_pages(0)
    b.conversations.resume(b.id, id, None)
    turn = await b.ended(id)
    assert turn.status == "answered"
    assert [step.index for step in turn.steps] == [0, 1]
    again, _ = Database.open(b.database.path)
    again.close()
