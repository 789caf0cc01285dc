"""The journal: stored before shown, the same state live and stored, nothing lost to a kill."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import events as ev
from app.bus import Bus
from app.errors import RequestError, StoreError
from app.events import Event, RunSettings
from app.state import ConversationState, fold, fold_all
from app.store.db import Database
from app.store.journal import Journal

Open = Callable[[], tuple[Journal, Bus[Event], Database]]
C = "c1"


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Open]:
    opened: list[Database] = []

    def make() -> tuple[Journal, Bus[Event], Database]:
        database, notice = Database.open(tmp_path / "c.db")
        assert notice is None
        opened.append(database)
        bus: Bus[Event] = Bus()
        return Journal(database, bus, clock=lambda: 1000.0), bus, database

    yield make
    for database in opened:
        database.close()


def begin(journal: Journal, turn: str = "t1") -> None:
    journal.append(C, ev.ConversationCreated("a"))
    journal.append(C, ev.TurnBegin(turn, None, "hello", RunSettings()), turn)
    journal.append(C, ev.StepBegin(0), turn, "s1")
    journal.append(C, ev.ModelCallBegin("b", "m", ()), turn, "s1")


def same(a: ConversationState, b: ConversationState) -> bool:
    return replace(a, updated=0) == replace(b, updated=0)


def test_stored_before_shown(reopen: Open) -> None:
    journal, bus, _ = reopen()
    reader, _, _ = reopen()
    found: list[bool] = []
    bus.subscribe(lambda event: found.append(event in reader.events(C)))
    begin(journal)
    assert found == [True] * 4
    assert [e.seq for e in journal.events(C)] == [1, 2, 3, 4]


def test_a_listener_that_raises_does_not_stop_the_others(reopen: Open) -> None:
    journal, bus, _ = reopen()
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise ValueError("listener")

    bus.subscribe(broken)
    leave = bus.subscribe(heard.append)
    begin(journal)
    assert len(heard) == 4
    leave()
    journal.append(C, ev.ConversationRenamed("b"))
    assert len(heard) == 4


KINDS = st.sampled_from(["reasoning", "text", "tool_call"])
PARTS = st.lists(
    st.tuples(KINDS, st.lists(st.text(max_size=6), max_size=5), st.booleans()), max_size=5
)


@given(parts=PARTS, cut=st.integers(0, 40))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_live_and_stored_fold_agree(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[str, list[str], bool]], cut: int
) -> None:
    """After every event, whether or not the open part's timer has fired."""
    database, _ = Database.open(tmp_path_factory.mktemp("j") / "c.db")
    bus: Bus[Event] = Bus()
    journal = Journal(database, bus, clock=lambda: 1000.0)
    live = ConversationState()
    count = 0

    def hear(event: Event) -> None:
        nonlocal live, count
        live = fold(live, event)
        count += 1
        if count == cut:
            # A listener that opens now and then ignores what it contains sees the same.
            assert same(journal.state(C), live)

    bus.subscribe(hear)

    async def write() -> None:
        begin(journal)
        for n, (kind, deltas, snapshot) in enumerate(parts):
            part = f"p{n}"
            journal.append(C, ev.PartBegin(part, kind), "t1", "s1")  # type: ignore[arg-type]
            for text in deltas:
                journal.delta(C, ev.PartDelta(part, text, 1), "t1", "s1")
            assert same(journal.state(C), live)
            if snapshot:
                journal.close()
                assert same(fold_all(journal.events(C)), live)
            end = ev.PartEnd(part, "".join(deltas), len(deltas), 0.5)
            journal.append(C, end, "t1", "s1")
        journal.append(C, ev.ModelCallEnd("stop"), "t1", "s1")
        journal.append(C, ev.StepEnd(0), "t1", "s1")
        journal.append(C, ev.TurnEnd("t1", "answered", "x"), "t1")

    asyncio.run(write())
    assert same(fold_all(journal.events(C)), live)
    database.close()


LANES = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["write", "end", "save", "look"])), max_size=30
)


@given(moves=LANES)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lanes_that_write_side_by_side_are_stored_as_shown(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[int, str]]
) -> None:
    """Also when the process is gone in the middle of several open parts."""
    database, _ = Database.open(tmp_path_factory.mktemp("j") / "c.db")
    bus: Bus[Event] = Bus()
    journal = Journal(database, bus, clock=lambda: 1000.0)
    heard: list[Event] = []
    bus.subscribe(heard.append)

    async def write() -> None:
        begin(journal)
        for lane in range(3):
            journal.append(C, ev.LaneBegin(f"l{lane}", lane + 1, lane), "t1")
            journal.append(C, ev.StepBegin(0), f"l{lane}", f"s{lane}")
        texts = ["", "", ""]
        parts = [0, 0, 0]
        open_ = [False] * 3
        for lane, move in moves:
            run, span, part = f"l{lane}", f"s{lane}", f"s{lane}.{parts[lane]}"
            if move == "write":
                if not open_[lane]:
                    journal.append(C, ev.PartBegin(part, "text"), run, span)
                    open_[lane] = True
                journal.delta(C, ev.PartDelta(part, f"{lane}", 1), run, span)
                texts[lane] += f"{lane}"
            elif move == "end" and open_[lane]:
                end = ev.PartEnd(part, texts[lane], len(texts[lane]), 0.5)
                journal.append(C, end, run, span)
                open_[lane], texts[lane] = False, ""
                parts[lane] += 1
            elif move == "save":
                journal.close()
                assert same(fold_all(journal.events(C)), fold_all(heard))
            assert same(journal.state(C), fold_all(heard))
        journal.close()

    asyncio.run(write())
    database.close()
    database, _ = Database.open(database.path)
    later = Journal(database, Bus(), clock=lambda: 1000.0)
    assert same(later.state(C), fold_all(heard))
    later._owner = (1, 0.0)
    with database.transaction() as connection:
        connection.execute("UPDATE runs SET process_began = 0")
    assert later.recover() == (C,)
    (turn,) = later.state(C).turns
    assert {lane.status for lane in turn.lanes} <= {"stopped"}
    assert not any(p.open for lane in turn.lanes for s in lane.steps for p in s.parts)
    assert database.rows("SELECT * FROM open_parts") == []
    database.close()


async def test_the_open_part_is_stored_in_time(reopen: Open) -> None:
    journal, _, _ = reopen()
    reader, _, _ = reopen()
    begin(journal)
    journal.append(C, ev.PartBegin("p", "text"), "t1", "s1")
    journal.delta(C, ev.PartDelta("p", "hello", 1), "t1", "s1")
    async with asyncio.timeout(0.9):
        while reader.state(C).turns[0].steps[0].parts[0].text != "hello":
            await asyncio.sleep(0.02)
    journal.close()


def test_two_writers_share_a_conversation_but_not_a_run(reopen: Open) -> None:
    journal, _, _ = reopen()
    other, _, _ = reopen()
    begin(journal)
    other.append(C, ev.ConversationRenamed("b"))
    journal.append(C, ev.StepEnd(0), "t1", "s1")
    assert [e.seq for e in journal.events(C)] == [1, 2, 3, 4, 5, 6]
    assert journal.state(C).title == "b"
    assert other.state(C).turns[0].steps[0].ended
    with pytest.raises(RequestError, match="worked on"):
        other.append(C, ev.TurnBegin("t2", "t1", "x", RunSettings()), "t2")
    assert len(journal.events(C)) == 6


def test_a_living_run_is_not_recovered(reopen: Open) -> None:
    journal, _, _ = reopen()
    begin(journal)
    other, _, _ = reopen()
    assert other.recover() == ()
    assert other.summaries()[0].running


def test_what_cannot_be_stored_is_not_shown(reopen: Open) -> None:
    journal, bus, database = reopen()
    begin(journal)
    heard: list[Event] = []
    bus.subscribe(heard.append)
    database.limit_pages(1)
    with pytest.raises(StoreError) as caught:
        for _ in range(100):
            journal.append(C, ev.ToolOutput("c", "x" * 4000), "t1", "s1")
    assert caught.value.code == "disk_full"
    assert len(heard) == len(journal.events(C)) - 4


def test_an_end_that_cannot_be_stored_is_kept_for_later(reopen: Open) -> None:
    journal, bus, database = reopen()
    begin(journal)
    with pytest.raises(StoreError):
        database.limit_pages(1)
        for _ in range(100):
            journal.append(C, ev.ToolOutput("c", "x" * 4000), "t1", "s1")
    heard: list[Event] = []
    bus.subscribe(heard.append)
    last = (ev.Failed("disk_full", "x" * 9000), ev.TurnEnd("t1", "failed"))
    journal.end_turn(C, "t1", last)
    assert [type(e.body) for e in heard] == [ev.ModelCallEnd, ev.Failed, ev.TurnEnd]
    assert {e.seq for e in heard} == {0}
    assert journal.state(C).turns[0].status == "failed"
    assert fold_all(journal.events(C)).turns[0].status == "running"
    database.limit_pages(0)
    journal.append(C, ev.ConversationRenamed("b"))
    assert fold_all(journal.events(C)).turns[0].status == "failed"
    assert not journal.summaries()[0].running


def test_an_unknown_event_is_kept(reopen: Open) -> None:
    journal, _, database = reopen()
    begin(journal)
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO events VALUES (?, 5, 1.0, '', '', ?)", (C, '{"type":"new.kind","x":1}')
        )
        connection.execute("UPDATE conversations SET last_seq = 5")
    assert journal.state(C).unknown == (ev.Unknown("new.kind", {"x": 1}),)


_CHILD = """
import asyncio, sys, time
from pathlib import Path
from app import events as ev
from app.bus import Bus
from app.events import RunSettings
from app.store.db import Database
from app.store.journal import Journal

async def main():
    database, _ = Database.open(Path(sys.argv[1]))
    journal = Journal(database, Bus())
    def put(body, span="s1"):
        event = journal.append("c1", body, "t1", span)
        print("event", event.seq, flush=True)
    put(ev.ConversationCreated("a"), "")
    put(ev.TurnBegin("t1", None, "hello", RunSettings()), "")
    put(ev.StepBegin(0), "s0")
    put(ev.ModelCallBegin("b", "m", ()), "s0")
    put(ev.ModelCallEnd("tool_calls"), "s0")
    put(ev.ToolProposed("k", "echo", "{}"), "s0")
    put(ev.ToolEnded("k", "ok", "12"), "s0")
    put(ev.StepEnd(0), "s0")
    put(ev.StepBegin(1))
    put(ev.ModelCallBegin("b", "m", ()))
    put(ev.PartBegin("p", "text"))
    while True:
        journal.delta("c1", ev.PartDelta("p", "x", 1), "t1", "s1")
        print("delta", time.time(), flush=True)
        await asyncio.sleep(0.01)

asyncio.run(main())
"""


def test_kill_9_loses_no_event_and_less_than_half_a_second_of_text(
    tmp_path: Path, reopen: Open
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(tmp_path / "c.db")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    times: list[float] = []
    seq = 0
    for line in child.stdout:
        kind, value = line.split()
        if kind == "event":
            seq = int(value)
        else:
            times.append(float(value))
        if times and times[-1] - times[0] > 1.2 and child.poll() is None:
            child.send_signal(signal.SIGKILL)
    assert child.wait(10) == -signal.SIGKILL
    child.stdout.close()

    journal, _, _ = reopen()
    stored = journal.events(C)
    assert [e.seq for e in stored][:seq] == list(range(1, seq + 1))
    kept = len(journal.state(C).turns[0].steps[1].parts[0].text)
    due = sum(at <= times[-1] - 0.5 for at in times)
    assert due > 20
    assert kept >= due

    assert journal.summaries()[0].running
    assert journal.recover() == (C,)
    assert journal.recover() == ()
    summary = journal.summaries()[0]
    assert (summary.running, summary.interrupted) == (False, True)
    turn = fold_all(journal.events(C)).turns[0]
    assert turn.status == "stopped"
    assert turn.interrupted is not None
    assert turn.interrupted.cause == "shutdown"
    assert turn.steps[0].tools[0].result == "12"
    assert len(turn.steps[1].parts[0].text) == kept
    assert not turn.steps[1].parts[0].open
    journal.append(C, ev.TurnResumed("t1"), "t1")
    assert [step.span for step in journal.state(C).turns[0].steps] == ["s0"]


def test_what_utf8_cannot_carry_is_stored_and_shown_alike(reopen: Open) -> None:
    journal, bus, _ = reopen()
    seen: list[Event] = []
    bus.subscribe(seen.append)
    journal.append(C, ev.ConversationCreated("half \ud83d", "/f\udcff"))
    journal.append(C, ev.TurnBegin("t1", None, "hello \ud800", RunSettings()), "t1")
    journal.append(C, ev.StepBegin(0), "t1", "s1")
    journal.append(C, ev.FormAsked("c", "f", "s", "\udfff", {"\ud800": ["\ud801"]}), "t1", "s1")
    assert journal.events(C) == tuple(seen)
    assert fold_all(seen) == journal.state(C)
    state = journal.state(C)
    assert (state.title, state.folder) == ("half \ufffd", "/f\ufffd")
    assert state.turns[0].text == "hello \ufffd"
    assert journal.summaries()[0].title == "half \ufffd"
    (form,) = (one.body for one in seen if isinstance(one.body, ev.FormAsked))
    assert form.schema == {"\ufffd": ["\ufffd"]}


async def test_an_open_part_that_utf8_cannot_carry_is_kept(reopen: Open) -> None:
    journal, _, _ = reopen()
    begin(journal)
    journal.append(C, ev.PartBegin("p", "text"), "t1", "s1")
    journal.delta(C, ev.PartDelta("p", "so \ud800", 1), "t1", "s1")
    journal.close()
    other, _, _ = reopen()
    assert other.state(C).turns[0].steps[0].parts[0].text == "so \ufffd"
