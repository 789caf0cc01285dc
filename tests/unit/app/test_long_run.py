"""Hundreds of steps under a small window, and processes that are killed in the middle of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from app import events as ev
from app.measuring.agent import kills, main
from app.measuring.long_run import WINDOW, LongRun, faults
from app.measuring.record import figures
from app.measuring.stopping import stops
from app.state import fold_all

STEPS = 300


async def test_three_hundred_calls_in_order_under_a_small_window(tmp_path: Path) -> None:
    long = LongRun(tmp_path, STEPS)
    sent: list[int] = []
    long.bus.subscribe(
        lambda e: sent.append(e.body.tokens) if isinstance(e.body, ev.ModelPrompt) else None
    )
    turn = await long.finish()
    stored = long.journal.events(long.id)
    assert faults(turn, stored, long.ledger, STEPS) == []
    assert len(sent) == STEPS + 1 and max(sent) <= WINDOW
    state = fold_all(stored)
    assert state.turns[0].steps == turn.steps
    # One after the other: what each step stores does not grow with their number.
    sizes = [len(ev.encode_body(e.body)) for e in stored if isinstance(e.body, ev.ModelCallBegin)]
    hidings = sum(isinstance(e.body, ev.ContextHidden) for e in stored)
    assert sum(size > 8_000 for size in sizes) <= hidings
    assert [c.messages for s in turn.steps if (c := s.call)] == [
        r.messages for r in long.model.requests
    ]
    await long.close()


def test_kills_lose_no_finished_step_and_repeat_no_call_unmarked(tmp_path: Path) -> None:
    found = kills(tmp_path, steps=50, wanted=4, seed=1)
    assert found["faults"] == []
    assert found["kills"] >= 4


def test_kills_of_lanes_keep_every_finished_step_of_each(tmp_path: Path) -> None:
    """Three lanes and a last pass, in a process that dies at any moment of them."""
    found = kills(tmp_path, steps=6, wanted=6, seed=1, lanes=3)
    assert found["faults"] == []
    assert found["kills"] >= 6


async def test_the_check_looks_at_every_lane(tmp_path: Path) -> None:
    long = LongRun(tmp_path, 3, lanes=2)
    turn = await long.finish()
    stored = long.journal.events(long.id)
    await long.close()
    assert faults(turn, stored, long.ledger, 3, lanes=2) == []
    with long.ledger.open("a") as file:
        file.write(f"{long.id}/{turn.lanes[1].id} 3\n{long.id} 1\n")
    assert faults(turn, stored, long.ledger, 3, lanes=2) == [
        "lane 2: 3 ran 2 times, of which 0 are marked",
        f"nobody knows of what ran in {long.id}",
    ]
    less = replace(turn, lanes=turn.lanes[:1])
    assert "there are 1 lanes" in faults(less, stored, long.ledger, 3, lanes=2)


def test_the_check_finds_what_is_wrong(tmp_path: Path) -> None:
    """A call that ran twice, one that is missing: the check must not be blind to them."""

    async def run() -> list[list[str]]:
        long = LongRun(tmp_path, 5)
        turn = await long.finish()
        stored = long.journal.events(long.id)
        await long.close()
        good = faults(turn, stored, long.ledger, 5)
        with long.ledger.open("a") as file:
            file.write(f"{long.id} 3\n")
        twice = faults(turn, stored, long.ledger, 5)
        return [good, twice, faults(turn, stored[:4] + stored[5:], long.ledger, 6)]

    good, twice, missing = asyncio.run(run())
    assert good == []
    assert twice == ["3 ran 2 times, of which 0 are marked"]
    assert len(missing) == 4


def test_the_bench_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--steps", "20", "--kills", "0", "--stops", "0", "--json"]) == 0
    printed = capsys.readouterr().out
    assert '"ratio_cpu"' in printed and '"last_call_ms"' in printed


def test_a_stop_ends_the_stream_at_once_and_every_process_soon(tmp_path: Path) -> None:
    stopped = stops(tmp_path, 8, 1)
    assert stopped["faults"] == []
    found = {figure["name"]: figure for figure in figures({"stops": stopped})}
    assert 0 < found["stops.stream.worst_ms"]["ratio"] <= 1
    assert 0 < found["stops.python.worst_ms"]["ratio"] <= 1
