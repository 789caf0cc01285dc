"""Orders at random moments, and processes that die at some: no run loses a word, runs a call twice,
stays held, or ends in a bug.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import pytest

from app import events as ev
from app.backends.base import ModelRequest
from app.backends.scripted import Reply
from app.errors import BackendError, ConfigError, RequestError
from app.events import Breakpoint, Unattended
from app.state import ToolRun, Turn
from tests.unit.app.agent.bench import RUN, Bench, assert_recorded

TOOLS = ("echo", "write", "fail", "long", "plan", "recall")
ARGUMENTS = (
    *(f'{{"x": "{x}"}}' for x in (0, 1, 2, 3, "bug", "well")),
    '{"items": [{"text": "look"}]}',
    "{",
)
POINTS = (
    Breakpoint("step", number=3),
    Breakpoint("tool", "echo"),
    Breakpoint("error"),
    Breakpoint("budget", number=50),
    Breakpoint("text", "hm"),
)
LIVES = 4


class Chance:
    """A model, a person and a fate, all drawn from one seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._draw = random.Random(seed)
        self._folder = folder
        self._said = self._copies = 0
        self.bench = Bench(folder, self.reply)

    def settings(self) -> ev.RunSettings:
        pick = self._draw.choice
        budget = ev.Budget(
            steps=pick((4, 12, 30)),
            tokens=pick((0, 0, 300)),
            thinking=pick((0, 40)),
            step_thinking=pick((0, 5)),
        )
        heavy = pick((False, False, True))
        return msgspec.structs.replace(
            RUN,
            tools=TOOLS,
            budget=budget,
            effort="heavy" if heavy else "standard",
            lanes=3 if heavy else 1,
            context=pick((0, 0, 400)),
        )

    async def _wait(self) -> None:
        await asyncio.sleep(self._draw.choice((0, 0, 0.001, 0.003)))

    def reply(self, request: ModelRequest) -> Reply:
        draw, wait = self._draw, self._wait
        if "independent trajectories" in (request.messages[-1].content or ""):
            return Reply(text=draw.choice(("So.\nAgreeing trajectories: 1", "", "x")), pause=wait)
        error = BackendError("x", "x", retryable=draw.random() < 0.9)
        lost = error if draw.random() < 0.13 else None
        if not request.may_call and draw.random() < 0.8:
            return Reply("hm", text="I conclude.", pause=wait, error=lost)
        kind = draw.random()
        if kind < 0.2:
            text = f"answer {draw.random()} " * draw.choice((1, 30))
            finish = draw.choice(("", "", "length"))
            return Reply("hm " * 3, text=text, pause=wait, error=lost, finish=finish)
        if kind < 0.27:
            return Reply("only a thought", pause=wait, error=lost)
        calls = tuple(
            (draw.choice((*TOOLS, "echo", "nope")), draw.choice(ARGUMENTS))
            for _ in range(draw.choice((1, 1, 2, 4)))
        )
        return Reply("I think", text=draw.choice(("", "so")), calls=calls, pause=wait, error=lost)

    async def order(self) -> None:
        """One of a person, who does not look whether it can be."""
        with suppress(RequestError, ConfigError):
            await self._order()
        await asyncio.sleep(self._draw.choice((0, 0, 0.002, 0.01)))

    async def _order(self) -> None:
        draw, id, commands = self._draw, self.bench.id, self.bench.conversations
        turn = self.bench.state.turns[-1]
        one = draw.choice((turn, *turn.lanes))
        match draw.randrange(14):
            case 0:
                commands.pause(id)
            case 1 | 2:
                commands.proceed(id, draw.choice(("go", "step")))
            case 3 | 4:
                self._said += 1
                commands.queue(id, f"said {self._said}")
            case 5 if one.queued:
                commands.unqueue(id, one.queued[0].id)
            case 6 if draw.random() < 0.3:
                await commands.stop(id, draw.choice(("now", "after_step")))
            case 7 if turn.lanes and draw.random() < 0.3:
                commands.stop_lane(id, draw.choice(turn.lanes).id)
            case 8:
                commands.set_breakpoints(id, tuple(draw.sample(POINTS, draw.randrange(3))))
            case 9:
                commands.set_unattended(id, draw.choice((None, Unattended(("*",)), Unattended())))
            case 10:
                self._edit(one)
            case 11 | 12:
                self.decide(("once", "deny", "run"))

    def _edit(self, turn: Turn) -> None:
        draw, id, commands = self._draw, self.bench.id, self.bench.conversations
        calls = [address(turn, tool) for step in turn.steps for tool in step.tools]
        what = draw.choice(("call", "result", "reasoning"))
        if what == "call" and calls:
            commands.edit_call(id, calls[-1], '{"x": "edited"}')
        elif what == "result" and calls:
            commands.edit_result(id, draw.choice(calls), "edited")
        elif what == "reasoning" and turn.steps:
            commands.edit_reasoning(id, turn.steps[-1].span, "new")

    def decide(self, decisions: tuple[ev.Decision, ...]) -> None:
        """Every call that waits."""
        turn = self.bench.state.turns[-1]
        for one in (turn, *turn.lanes):
            for tool in (tool for step in one.steps for tool in step.tools if tool.waiting):
                with suppress(RequestError):
                    decision = self._draw.choice(decisions)
                    self.bench.conversations.decide(self.bench.id, address(one, tool), decision)

    async def die(self) -> None:
        """Another process finds what this one had written at this moment."""
        self._copies += 1
        folder = self._folder / str(self._copies)
        folder.mkdir()
        before = self.bench
        with (
            closing(sqlite3.connect(before.database.path)) as source,
            closing(sqlite3.connect(folder / "conversations.db")) as copy,
        ):
            source.backup(copy)
            copy.execute("UPDATE runs SET pid = 4194305, process_began = 0")
            copy.commit()
        self.bench = Bench(folder, self.reply)
        self.bench.id = before.id
        await before.close()
        self.bench.journal.recover()
        self.bench.seen = list(self.bench.journal.events(before.id))
        assert_recorded(self.bench)

    async def live(self) -> None:
        """Until the run ends, with orders for a while, then as one who only lets it go on."""
        for _ in range(self._draw.randrange(5, 60)):
            await self.order()
            if self._draw.random() < 0.05:
                await self.die()
            if self.ended:
                return
        self.bench.conversations.set_breakpoints(self.bench.id, ())
        async with asyncio.timeout(60):
            while not self.ended:
                with suppress(RequestError):
                    self.bench.conversations.proceed(self.bench.id, "go")
                self.decide(("once",))
                await asyncio.sleep(0.005)

    @property
    def ended(self) -> bool:
        return self.bench.state.turns[-1].status != "running"


def address(turn: Turn, tool: ToolRun) -> str:
    return f"{turn.id}/{tool.call}" if turn.number else tool.call


def faults(bench: Bench, turn: Turn) -> Iterator[str]:
    """What must not be, of a turn or a lane that has ended."""
    if turn.failure is not None and turn.failure.code == "internal":
        yield f"a bug: {turn.failure.message}"
    if turn.lane_end is not None and turn.lane_end.code == "internal":
        yield f"a bug: {turn.lane_end.message}"
    if turn.paused or turn.pausing or turn.away:
        yield "held after its end"
    mine = [event for event in bench.seen if event.run == turn.id]
    starts = Counter((e.span, e.body.call) for e in mine if isinstance(e.body, ev.ToolStarted))
    yield from (f"{call} ran {times} times" for call, times in starts.items() if times > 1)
    said = {e.body.id for e in mine if isinstance(e.body, ev.MessageQueued)}
    said -= {e.body.id for e in mine if isinstance(e.body, ev.MessageWithdrawn)}
    heard = {n.id for s in turn.steps for n in s.notes if isinstance(n, ev.MessageTaken)}
    if turn.status == "answered" and (turn.queued or said - heard):
        yield "an answer to less than what was said"
    if said - heard - {message.id for message in turn.queued}:
        yield "a message vanished"


@pytest.fixture
def chance(tmp_path: Path) -> Callable[[int], Chance]:
    return lambda seed: Chance(tmp_path, seed)


@pytest.mark.parametrize("seed", range(24))
async def test_whatever_is_ordered_and_whenever_it_dies(
    chance: Callable[[int], Chance], seed: int
) -> None:
    it = chance(seed)
    try:
        id = it.bench.send(settings=it.settings())
        for _ in range(LIVES):
            await it.live()
            turn = await it.bench.ended(id)
            assert_recorded(it.bench)
            found = [fault for one in (turn, *turn.lanes) for fault in faults(it.bench, one)]
            assert found == []
            if turn.status == "answered":
                break
            it.bench.conversations.resume(it.bench.id, id, None)
        await it.bench.conversations.stop(it.bench.id, "now")
    finally:
        await it.bench.close()
