"""Heavy mode: lanes side by side, what becomes of each, and the one answer in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app import events as ev
from app.agent.agreement import compare, core_of, groups_of, verdict_of
from app.agent.notes import CHANGED
from app.backends.base import ModelRequest
from app.backends.scripted import Reply
from app.errors import BackendError, RequestError
from app.state import Turn, fold_all
from app.tools.base import ToolContext
from tests.unit.app.agent.bench import RUN, Bench, Toy, assert_recorded

Make = Callable[..., Bench]
FOUR = msgspec.structs.replace(RUN, effort="heavy", lanes=4, seed=7)
LAST = "Both ways give 12.\nAgreeing trajectories: 1, 3"


def said_last(request: ModelRequest) -> str:
    return request.messages[-1].content or ""


def is_last_pass(request: ModelRequest) -> bool:
    return "independent trajectories" in said_last(request)


def seeded(answer: Callable[[int], Reply], last: Reply) -> Callable[[ModelRequest], Reply]:
    """A model whose lanes differ by their seeds, 7 and on: each calls echo, then answers."""

    def model(request: ModelRequest) -> Reply:
        if is_last_pass(request):
            return last
        number = (request.sampling.seed or 0) - 6
        if any(message.role == "tool" for message in request.messages):
            return answer(number)
        return Reply(f"thought of {number}", calls=(("echo", f'{{"x": "{number}"}}'),))

    return model


def numbers(lanes: tuple[Turn, ...]) -> list[int]:
    return [lane.number for lane in lanes]


# -- a whole run -------------------------------------------------------------------------------


async def test_lanes_run_side_by_side_and_one_answer_comes_of_them(bench: Make) -> None:
    b = bench(
        model=seeded(lambda n: Reply(text=f"Answer: {12 if n != 2 else 13}"), Reply(text=LAST))
    )
    turn = await b.ask(settings=FOUR)
    assert (turn.status, turn.answer) == ("answered", "Both ways give 12.")
    assert numbers(turn.lanes) == [1, 2, 3, 4]
    assert [lane.settings.seed for lane in turn.lanes] == [7, 8, 9, 10]
    assert [lane.answer for lane in turn.lanes] == [f"Answer: {n}" for n in (12, 13, 12, 12)]
    assert turn.agreement is not None
    assert (turn.agreement.agree, turn.agreement.of) == ((1, 3, 4), 4)
    assert turn.agreement.by == "answers"
    assert [step.purpose for step in turn.steps] == ["aggregate"]
    # Each lane's calls bear the ids that its own model gave them.
    assert {lane.steps[0].tools[0].call for lane in turn.lanes} == {"functions.echo:0"}
    # The last pass read every answer and the evidence, and was allowed no call.
    (last,) = [r for r in b.model.requests if is_last_pass(r)]
    for n in (1, 2, 3, 4):
        assert f"Trajectory {n}\nAnswer:\nAnswer: 1" in said_last(last)
        assert f'echo({{"x": "{n}"}}) gave: {n}' in said_last(last)
    assert not last.may_call and last.tools
    # All lanes begin with the same prompt, so that an engine shares it.
    first = [r.messages for r in b.model.requests if len(r.messages) == 2]
    assert len(first) == 4 and len(set(map(repr, first))) == 1
    assert_recorded(b)
    assert all(
        lane.status == "answered" for lane in fold_all(b.journal.events(b.id)).turns[0].lanes
    )


async def test_what_follows_reads_the_one_answer_alone(bench: Make) -> None:
    b = bench(model=seeded(lambda n: Reply(text="13" if n == 2 else "12"), Reply(text=LAST)))
    await b.ask(settings=FOUR)
    await b.ask("and then?", settings=msgspec.structs.replace(RUN, seed=7))
    told = [(m.role, m.content) for m in b.model.requests[-1].messages if m.role != "system"]
    assert ("assistant", "Both ways give 12.") in told
    assert sum(role == "user" for role, _ in told) == 2


async def test_one_lane_is_no_heavy_mode(bench: Make) -> None:
    b = bench(Reply(text="It is 12."))
    turn = await b.ask(settings=msgspec.structs.replace(FOUR, lanes=1))
    assert (turn.answer, turn.lanes, len(turn.steps)) == ("It is 12.", (), 1)


# -- trouble -----------------------------------------------------------------------------------


async def test_a_lane_that_fails_is_left_out_with_its_reason(bench: Make) -> None:
    broken = Reply(error=BackendError("http_400", "no such model"))
    b = bench(
        model=seeded(lambda n: broken if n == 3 else Reply(text="12"), Reply(text="It is 12."))
    )
    turn = await b.ask(settings=FOUR)
    assert turn.status == "answered"
    third = turn.lanes[2]
    assert third.status == "failed" and third.lane_end is not None
    assert (third.lane_end.code, third.lane_end.message) == ("http_400", "no such model")
    assert turn.agreement == ev.LanesCompared(
        (1, 2, 4), 3, "answers", (ev.LaneGroup("12", (1, 2, 4)),)
    )
    assert_recorded(b)


class Echo(Toy):
    """Keeps what it said last in a file for each place that calls it."""

    def __init__(self, folder: Path) -> None:
        super().__init__("echo", None)
        self._folder = folder
        self.forgotten: list[Path] = []

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        self._kept(context.conversation).write_text(arguments["x"])
        return str(arguments["x"])

    async def forget(self, conversation: str) -> None:
        self.forgotten.append(self._kept(conversation))
        self.forgotten[-1].unlink()

    def _kept(self, place: str) -> Path:
        return self._folder / place.replace("/", "-")


async def test_a_lane_whose_tools_cannot_be_tidied_up_harms_no_other(
    bench: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()

    def lose(number: int) -> Reply:
        for file in kept.iterdir():
            file.unlink()
        return Reply(text="12")

    b = bench(model=seeded(lose, Reply(text="It is 12.")))
    b.tools.put(echo := Echo(kept))
    turn = await b.ask(settings=FOUR)
    assert [lane.status for lane in turn.lanes] == ["answered"] * 4
    assert (turn.status, len(set(echo.forgotten))) == ("answered", 4)
    assert all(f"No such file or directory: '{file}'" in caplog.text for file in echo.forgotten)
    assert_recorded(b)


async def test_no_lane_with_an_answer_fails_the_turn(bench: Make) -> None:
    b = bench(Reply(error=BackendError("http_400", "no such model")))
    turn = await b.ask(settings=FOUR)
    assert turn.status == "failed" and turn.failure is not None
    assert turn.failure.code == "http_400" and "no such model" in turn.failure.message
    assert_recorded(b)


async def test_a_single_answer_is_taken_as_it_is(bench: Make) -> None:
    broken = Reply(error=BackendError("http_400", "no"))
    b = bench(model=seeded(lambda n: Reply(text="12") if n == 2 else broken, Reply(text="never")))
    turn = await b.ask(settings=FOUR)
    assert (turn.status, turn.answer, turn.steps) == ("answered", "12", ())
    await b.ask("and then?", settings=msgspec.structs.replace(RUN, seed=8))
    assert ("assistant", "12") in [(m.role, m.content) for m in b.model.requests[-1].messages]


async def test_a_last_pass_that_fails_leaves_the_answer_of_most(bench: Make) -> None:
    broken = Reply(error=BackendError("http_400", "too much"))
    b = bench(model=seeded(lambda n: Reply(text="13" if n == 1 else "12"), broken))
    turn = await b.ask(settings=FOUR)
    assert (turn.status, turn.answer) == ("answered", "12")
    assert turn.agreement is not None and turn.agreement.agree == (2, 3, 4)
    assert ev.FormatProblemSeen("http_400", "too much") in b.bodies(ev.FormatProblemSeen)
    assert_recorded(b)


# -- stopping ----------------------------------------------------------------------------------


def waiting(number: int) -> Callable[[ModelRequest], Reply]:
    """The lanes from a number on wait in a tool."""

    def model(request: ModelRequest) -> Reply:
        if is_last_pass(request):
            return Reply(text="It is 12.")
        mine = (request.sampling.seed or 0) - 6
        if mine >= number and request.messages[-1].role != "tool":
            return Reply(calls=(("wait", "{}"),))
        return Reply(text="12")

    return model


async def lanes_at_work(b: Bench, count: int) -> tuple[Turn, ...]:
    """Once so many lanes are left and all of them wait in their tool."""
    async with asyncio.timeout(10):
        while True:
            lanes = b.state.turns[-1].lanes if b.state.turns else ()
            at_work = tuple(lane for lane in lanes if lane.status == "running")
            started = all(s.tools and s.tools[0].started for lane in at_work for s in lane.steps)
            if (
                len(lanes) == 4
                and len(at_work) == count
                and started
                and all(lane.steps for lane in at_work)
            ):
                return at_work
            await asyncio.sleep(0.002)


async def test_stop_one_keep_the_rest(bench: Make) -> None:
    b = bench(model=waiting(3))
    id = b.send(settings=FOUR)
    third, fourth = await lanes_at_work(b, 2)
    b.conversations.stop_lane(b.id, third.id)
    (left,) = await lanes_at_work(b, 1)
    assert left.id == fourth.id
    b.tools.gate.set()
    turn = await b.ended(id)
    assert [lane.status for lane in turn.lanes] == ["answered", "answered", "stopped", "answered"]
    assert turn.lanes[2].lane_end is not None and turn.lanes[2].lane_end.code == "left_out"
    assert turn.agreement is not None and turn.agreement.of == 3
    with pytest.raises(RequestError, match="no run goes on"):
        b.conversations.stop_lane(b.id, third.id)
    assert_recorded(b)


async def test_stop_all_and_resume_runs_only_what_was_cut_off(bench: Make) -> None:
    b = bench(model=waiting(3))
    id = b.send(settings=FOUR)
    await lanes_at_work(b, 2)
    await b.conversations.stop(b.id, "now")
    turn = await b.ended(id)
    assert (turn.status, turn.answer) == ("stopped", "")
    assert [lane.status for lane in turn.lanes] == ["answered", "answered", "stopped", "stopped"]
    assert_recorded(b)
    asked = len(b.model.requests)
    b.tools.gate.set()
    b.conversations.resume(b.id, id, None)
    turn = await b.ended(id)
    # All say the same, so that no last pass is needed.
    assert (turn.status, turn.answer, turn.steps) == ("answered", "12", ())
    assert turn.agreement is not None and len(turn.agreement.agree) == 4
    assert [lane.status for lane in turn.lanes] == ["answered"] * 4
    # Calls that were cut off are kept with what became of them, so that two lanes take one step.
    assert len(b.model.requests) - asked == 2
    assert_recorded(b)


async def test_a_run_whose_process_died_goes_on_where_it_was(bench: Make) -> None:
    b = bench(model=waiting(3))
    id = b.send(settings=FOUR)
    await lanes_at_work(b, 2)
    # What another process finds in the database when ours is gone.
    b.journal._owner = (2**22 + 1, 0.0)
    with b.database.transaction() as connection:
        connection.execute("UPDATE runs SET pid = 4194305, process_began = 0")
    b.journal.recover()
    turn = b.state.turn(id)
    assert turn is not None and turn.status == "stopped"
    assert [lane.status for lane in turn.lanes] == ["answered", "answered", "stopped", "stopped"]
    assert [t.status for lane in turn.lanes for s in lane.steps for t in s.tools] == ["unknown"] * 2
    assert all(lane.lane_end and lane.lane_end.code == "cut_off" for lane in turn.lanes[2:])
    stored = fold_all(b.journal.events(b.id))
    assert replace(stored, updated=0) == replace(b.state, updated=0)


# -- budgets, approval, steering ---------------------------------------------------------------


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
    assert "lane 2 of several" in b.bodies(ev.ApprovalAsked)[1].reason
    assert (b.state.turn(second.id) or second).steps[0].tools[0].waiting
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


# -- agreement ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "core"),
    [
        ("Answer: **1,234.50**", "1234.5"),
        ("It takes a while.\n\nThe final answer is \\boxed{ 42 }.", "42"),
        ("x = 7", "7"),
        ("17*23 + 4 = **395**.", "395"),
        ("**Paris**", "paris"),
        ("Answer: the north valve", "the north valve"),
        ("One line\nand another", ""),
        ("A long sentence that goes on and on, well beyond what can be compared by characters", ""),
        ("-0.50", "-0.5"),
        ("1" * 50, "1" * 50),
        ("", ""),
    ],
)
def test_the_answer_proper(answer: str, core: str) -> None:
    assert core_of(answer) == core


def test_groups_and_verdicts() -> None:
    answers = {1: "Answer: 12", 2: "\\boxed{12.0}", 4: "It is thirteen\nor so"}
    assert groups_of(answers) == ()
    assert [g.lanes for g in groups_of({1: "12", 2: "13", 5: "12.0"})] == [(1, 5), (2,)]
    assert verdict_of("Yes.\n**Agreeing trajectories:** 1, 4", (1, 2, 4)) == ("Yes.", (1, 4))
    assert verdict_of("Yes.\nAgreeing trajectories: none", (1, 2)) == ("Yes.", ())
    assert verdict_of("Yes.", (1, 2)) == ("Yes.", None)
    said = compare(answers, "Twelve or thirteen.\nAgreeing trajectories: 4, 9")
    assert (said.agree, said.of, said.by) == ((4,), 3, "model")
    assert compare(answers, "Twelve.").by == "nobody"
    # A longer final answer counts for the one short answer that it names.
    short = {1: "12", 2: "13", 3: "12"}
    assert compare(short, "After all it comes to 12 apples.\nWhy: a\nb").agree == (1, 3)
    assert compare(short, "It is 12 or 13.\nWho knows").by == "answers"
    assert compare(short, "It is 12 or 13.\nWho knows").agree == ()
    # So does what it makes bold, and a verdict within one group stands for the whole group.
    assert compare(short, "One said 13, but it is **12**.\nThe end").agree == (1, 3)
    said = compare(short, "Not 13 but 12.\nAgreeing trajectories: 3")
    assert (said.agree, said.by) == ((1, 3), "answers")
