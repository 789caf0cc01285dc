"""A run of hundreds of steps under a small window, and the check that nothing of it went wrong.

The model counts: it calls ``count`` with 1, 2, 3 … and goes on from the last result it sees. The
tool writes each call to a ledger outside of the journal, so that one can be held against the other.
In lanes each counts for itself, and a last pass makes one answer of theirs.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from app import events as ev
from app.agent.patience import Patience
from app.backends.base import Backend, BackendEvent, ModelRequest
from app.backends.scripted import Reply, ScriptedBackend
from app.bus import Bus
from app.conversations import Conversations
from app.errors import ToolError
from app.events import Budget, Event, RunSettings, Unattended
from app.settings import Settings
from app.state import ConversationState, Turn
from app.store.db import Database
from app.store.journal import Journal
from app.tools.base import Outside, Risk, Tool, ToolContext
from engine.protocol import FunctionSpec, ToolSpec

WINDOW = 32_768
"""Tokens; the scripted model counts a word as one."""
RESULT_WORDS = 250
_CHUNKS = 24
_BREATH = 0.001
"""Seconds between two pieces of a lane's reply."""
_TASK = "Count on to the end and say when you are there."


class Count:
    """Notes the call in the ledger, then answers at some length."""

    spec = ToolSpec(
        FunctionSpec(
            "count",
            "Counts on.",
            {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        )
    )
    read_only = False
    asks = False
    risk: Risk = "none"
    outside: Outside = "never"

    def __init__(self, ledger: Path, seconds: float, words: int = RESULT_WORDS) -> None:
        self._ledger = ledger
        self._seconds = seconds
        self._words = words

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        n = int(arguments["n"])
        with self._ledger.open("a") as file:
            file.write(f"{context.conversation} {n}\n")
        if self._seconds:
            await asyncio.sleep(self._seconds)
        return f"counted {n} " + "and what was found with it " * (self._words // 6)

    async def forget(self, conversation: str) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is held."""


class Tools:
    """One tool."""

    def __init__(self, tool: Count) -> None:
        self._tool = tool

    def specs(self, names: tuple[str, ...]) -> tuple[ToolSpec, ...]:
        return (self._tool.spec,) if "count" in names else ()

    def get(self, name: str) -> Tool | None:
        return self._tool if name == "count" else None

    async def prepare(self, names: tuple[str, ...]) -> list[tuple[str, str]]:
        return []

    def parse(self, name: str, arguments_text: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(arguments_text)
        except ValueError:
            raise ToolError("arguments", "the arguments are not JSON") from None
        return found

    async def forget(self, conversation: str) -> None:
        """Nothing is kept."""


def counting(steps: int, lanes: int = 0) -> Callable[[ModelRequest], Reply]:
    """The model: what it does depends on nothing but the messages, in lanes also on the seed.

    Lanes take turns at each piece of their replies, as they would at a real model.
    """

    def reply(request: ModelRequest) -> Reply:
        if lanes and "independent trajectories" in (request.messages[-1].content or ""):
            numbers = ", ".join(map(str, range(1, lanes + 1)))
            text = f"{_all_counted(steps)}\nAgreeing trajectories: {numbers}"
            return Reply("All of them counted, so it is said. " * 8, text, pause=_breathe)
        if not request.may_call:
            return Reply(text="Notes: the count goes on; the last numbers are in the messages.")
        at, result = last_count(request)
        again = result.startswith("error:")
        n = at if again else at + 1
        if n > steps:
            # Longer than what is compared by characters, so that a last pass has to be made.
            by = f" I began from the seed {request.sampling.seed}.\nThat is all." if lanes else ""
            return Reply("Everything is counted.", f"I counted to {steps}.{by}")
        thought = f"The last was {at}, so {n} is next. " * 4
        call = ("count", json.dumps({"n": n}))
        pause = _breathe if lanes else None
        return Reply(thought, calls=(call,), chunk=max(1, len(thought) // _CHUNKS), pause=pause)

    return reply


async def _breathe() -> None:
    await asyncio.sleep(_BREATH)


def _all_counted(steps: int) -> str:
    return f"All counted to {steps}."


def last_count(request: ModelRequest) -> tuple[int, str]:
    """(number, result) of the last call a request tells of."""
    for i in range(len(request.messages) - 1, -1, -1):
        calls = request.messages[i].tool_calls
        if calls:
            n = json.loads(calls[-1].function.arguments)["n"]
            return n, request.messages[i + len(calls)].content or ""
    return 0, ""


class Timed(ScriptedBackend):
    """Keeps the processor's time that the model itself takes, in seconds."""

    spent = 0.0

    async def stream(self, request: ModelRequest) -> AsyncIterator[BackendEvent]:
        events = super().stream(request)
        began = time.process_time()
        async for event in events:
            self.spent += time.process_time() - began
            yield event
            began = time.process_time()


class LongRun:
    """In a folder; begun there, or gone on with where a dead process left it. On one loop."""

    def __init__(
        self,
        folder: Path,
        steps: int,
        tool_seconds: float = 0.0,
        window: int = WINDOW,
        words: int = RESULT_WORDS,
        lanes: int = 0,
    ) -> None:
        """``words`` of each result; ``lanes`` that count side by side, 0: none."""
        self.steps = steps
        self._lanes = lanes
        self._window = window
        self.other: Backend | None = None
        """Answers instead of the model."""
        self.ledger = folder / "ledger"
        self.model = Timed(counting(steps, lanes))
        self.bus: Bus[Event] = Bus()
        self._database, _ = Database.open(folder / "conversations.db")
        self.journal = Journal(self._database, self.bus)
        self.journal.recover()
        tools = Tools(Count(self.ledger, tool_seconds, words))

        async def find(settings: RunSettings) -> Backend:
            return self.other or self.model

        self.conversations = Conversations(
            self.journal,
            tools,
            find,
            Settings,
            lambda tool: None,
            folder / "scratch",
            Patience(first=0.01),
        )
        found = self.journal.summaries()
        self.id = found[0].id if found else self.conversations.create("", "")

    @property
    def state(self) -> ConversationState:
        return self.journal.state(self.id)

    async def finish(self) -> Turn:
        """Take it to its end."""
        settings = RunSettings(
            tools=("count",),
            budget=Budget(steps=4 * self.steps),
            context=self._window,
            effort="heavy" if self._lanes else "standard",
            lanes=self._lanes or 1,
        )
        state = self.state
        if not state.turns:
            self.conversations.send(self.id, _TASK, settings, Unattended(("*",)))
        elif state.turns[0].status != "answered":
            self.conversations.resume(self.id, state.turns[0].id, Unattended(("*",)))
        await self.conversations.wait(self.id)
        return self.state.turns[0]

    async def close(self) -> None:
        await self.conversations.close()
        self.journal.close()
        self._database.close()


def faults(
    turn: Turn,
    stored: tuple[Event, ...],
    ledger: Path,
    steps: int,
    window: int = WINDOW,
    words: int = RESULT_WORDS,
    lanes: int = 0,
) -> list[str]:
    """What is wrong with a run that came to its end; empty: nothing."""
    found: list[str] = []
    answer = _all_counted(steps) if lanes else f"I counted to {steps}."
    if turn.status != "answered" or turn.answer != answer:
        found.append(f"it ended as {turn.status} with {turn.answer[:60]!r}")
    seqs = [event.seq for event in stored]
    if seqs != list(range(1, len(seqs) + 1)):
        found.append("the journal has a gap")
    ran = _counted(ledger)
    conversation = stored[0].conversation
    if lanes:
        found += _faults_of_lanes(turn, ran, conversation, steps, lanes)
    else:
        found += _faults_of(turn, ran.pop(conversation, Counter()), steps)
    if ran:
        found.append(f"nobody knows of what ran in {', '.join(ran)}")
    of_all = (step for one in (turn, *turn.lanes) for step in one.steps)
    longest = max(step.call.usage.prompt_tokens for step in of_all if step.call)
    if longest > window:
        found.append(f"a prompt had {longest} tokens")
    if steps * words > 1.5 * window:
        kinds = {type(event.body) for event in stored}
        if not kinds & {ev.ContextHidden, ev.ContextSummarised}:
            found.append("nothing was ever hidden")
    return found


def _counted(ledger: Path) -> dict[str, Counter[int]]:
    """How often each number was counted, by the place."""
    ran: dict[str, Counter[int]] = {}
    for line in ledger.read_text().splitlines():
        place, n = line.split()
        ran.setdefault(place, Counter())[int(n)] += 1
    return ran


def _faults_of_lanes(
    turn: Turn, ran: dict[str, Counter[int]], conversation: str, steps: int, lanes: int
) -> list[str]:
    """Takes what the lanes ran from ``ran``."""
    found: list[str] = []
    if [lane.number for lane in turn.lanes] != list(range(1, lanes + 1)):
        found.append(f"there are {len(turn.lanes)} lanes")
    for lane in turn.lanes:
        mine = ran.pop(f"{conversation}/{lane.id}", Counter())
        found += [f"lane {lane.number}: {one}" for one in _faults_of(lane, mine, steps)]
        if lane.status != "answered" or not lane.answer.startswith(f"I counted to {steps}."):
            found.append(f"lane {lane.number} ended as {lane.status} with {lane.answer[:60]!r}")
    if turn.agreement is None or len(turn.agreement.agree) != lanes:
        found.append("the lanes are not brought together")
    return found


def _faults_of(turn: Turn, ran: Counter[int], steps: int) -> list[str]:
    """Of a turn that counts, or a lane. ``ran``: how often each number was counted."""
    found: list[str] = []
    calls = [tool for step in turn.steps for tool in step.tools]
    done = [json.loads(tool.arguments)["n"] for tool in calls if tool.status == "ok"]
    if done != list(range(1, steps + 1)):
        found.append(f"{len(done)} calls went well, not 1 to {steps} in order")
    if any(not step.ended for step in turn.steps):
        found.append("a step has no end")
    doubtful = Counter(
        json.loads(tool.arguments)["n"] for tool in calls if tool.status == "unknown"
    )
    for n, times in ran.items():
        # The last execution is the one whose result is known.
        if times - 1 > doubtful[n]:
            found.append(f"{n} ran {times} times, of which {doubtful[n]} are marked")
    for tool in calls:
        n = json.loads(tool.arguments)["n"]
        if doubtful[n] and tool.status == "ok" and not tool.repeats:
            found.append(f"the repetition of {n} is not marked")
    return found
