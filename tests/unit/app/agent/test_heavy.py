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
from app.backends.base import ModelRequest
from app.backends.scripted import Reply
from app.errors import BackendError, RequestError
from app.state import Turn, fold_all
from app.tools.base import ToolContext
from tests.unit.app.agent.bench import RUN, Bench, Toy, assert_recorded
from tests.unit.app.agent.lanes import FOUR, is_last_pass, said_last, seeded

Make = Callable[..., Bench]
LAST = "Both ways give 12.\nAgreeing trajectories: 1, 3"


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
