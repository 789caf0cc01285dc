"""A place to run whole turns: a real journal, real loop, toy tools, a scripted model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from app import events as ev
from app.agent.patience import Patience
from app.backends.base import Backend, ModelRequest
from app.backends.scripted import Reply, ScriptedBackend
from app.bus import Bus
from app.conversations import Conversations
from app.errors import ToolError
from app.events import Event, RunSettings
from app.settings import Settings
from app.state import ConversationState, Turn, fold_all
from app.store.db import Database
from app.store.journal import Journal
from app.tools.base import Outside, Risk, Tool, ToolContext
from app.trust.policy import Rule
from engine.protocol import FunctionSpec, ToolSpec


class Toy:
    """A tool whose work is a coroutine function."""

    outside: Outside = "never"

    def __init__(self, name: str, work: Any, *, read_only: bool = True, asks: bool = False) -> None:
        schema = {"type": "object", "properties": {"x": {"type": "string"}}}
        self.spec = ToolSpec(FunctionSpec(name, "", schema))
        self.read_only = read_only
        self.asks = asks
        self.risk: Risk = "write" if asks else "read"
        self._work = work

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        result: str = await self._work(arguments.get("x", ""), output)
        return result

    async def forget(self, conversation: str) -> None:
        pass

    async def close(self) -> None:
        pass


class ToyBox:
    """A few toys: ``echo`` and ``fail`` only read, ``write`` asks, ``wait`` waits for ``gate``."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.waiting = asyncio.Event()
        self.most_at_once = 0
        self._at_once = 0

        async def echo(x: str, output: Callable[[str], None]) -> str:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            await asyncio.sleep(0)
            self._at_once -= 1
            return x

        async def write(x: str, output: Callable[[str], None]) -> str:
            output("writing ")
            output(x)
            return f"wrote {x}"

        async def fail(x: str, output: Callable[[str], None]) -> str:
            if x == "bug":
                raise ZeroDivisionError("oops")
            if x == "well":
                return "it went well"
            raise ToolError("no_file", f"no file named {x}")

        async def long(x: str, output: Callable[[str], None]) -> str:
            return f"{x} " + "word " * 100

        async def wait(x: str, output: Callable[[str], None]) -> str:
            self.waiting.set()
            await self.gate.wait()
            return "waited"

        self._toys = {
            toy.spec.function.name: toy
            for toy in (
                Toy("echo", echo),
                Toy("long", long),
                Toy("write", write, read_only=False, asks=True),
                Toy("fail", fail),
                Toy("wait", wait),
            )
        }

    def specs(self, names: tuple[str, ...]) -> tuple[ToolSpec, ...]:
        return tuple(toy.spec for name, toy in self._toys.items() if name in names)

    def get(self, name: str) -> Tool | None:
        return self._toys.get(name)

    def put(self, toy: Toy) -> None:
        """Another toy, in the place of one of that name if there is one."""
        self._toys[toy.spec.function.name] = toy

    def writes(self, name: str) -> None:
        """From now on that toy changes things."""
        self._toys[name].read_only = False

    def parse(self, name: str, arguments_text: str) -> dict[str, Any]:
        try:
            arguments = json.loads(arguments_text)
        except ValueError:
            raise ToolError("bad_arguments", "the arguments are not JSON") from None
        if not isinstance(arguments, dict):
            raise ToolError("bad_arguments", "the arguments are no object")
        return arguments

    async def prepare(self, names: tuple[str, ...]) -> list[tuple[str, str]]:
        return []

    async def forget(self, conversation: str) -> None:
        for toy in self._toys.values():
            await toy.forget(conversation)


RUN = RunSettings(tools=("echo", "write", "fail", "wait"))


class Bench:
    """Conversations over a database in a folder; every published event is kept in ``seen``."""

    def __init__(
        self, folder: Path, replies: Sequence[Reply] | Callable[[ModelRequest], Reply]
    ) -> None:
        self.database, _ = Database.open(folder / "conversations.db")
        self.seen: list[Event] = []
        self._heard = asyncio.Event()
        bus: Bus[Event] = Bus()
        bus.subscribe(self._hear)
        self.journal = Journal(self.database, bus)
        self.tools = ToyBox()
        self.model = ScriptedBackend(replies)
        self.other: Backend | None = None
        """Answers instead of the model."""
        self.settings = Settings(run=RUN)
        self.always: list[Rule] = []

        async def find(settings: RunSettings) -> Backend:
            return self.other or self.model

        self.conversations = Conversations(
            self.journal,
            self.tools,
            find,
            lambda: self.settings,
            self.always.append,
            folder / "scratch",
            Patience(attempts=4, first=0.001),
        )
        self.id = self.conversations.create("", "")

    def _hear(self, event: Event) -> None:
        self.seen.append(event)
        self._heard.set()

    async def until(self, kind: type) -> Event:
        """The first event of a kind, once it was published."""
        async with asyncio.timeout(10):
            while True:
                for event in self.seen:
                    if isinstance(event.body, kind):
                        return event
                self._heard.clear()
                await self._heard.wait()

    def send(
        self,
        text: str = "go",
        settings: RunSettings | None = None,
        unattended: ev.Decision | None = None,
    ) -> str:
        return self.conversations.send(self.id, text, settings, unattended)

    async def ask(
        self,
        text: str = "go",
        settings: RunSettings | None = None,
        unattended: ev.Decision | None = None,
    ) -> Turn:
        """Send, and wait for the end."""
        return await self.ended(self.send(text, settings, unattended))

    async def ended(self, turn: str) -> Turn:
        async with asyncio.timeout(20):
            await self.conversations.wait(self.id)
        found = self.state.turn(turn)
        assert found is not None
        return found

    @property
    def state(self) -> ConversationState:
        return self.journal.state(self.id)

    @property
    def live(self) -> ConversationState:
        """What a listener has on its screen."""
        return fold_all(self.seen)

    def bodies(self, *kinds: type) -> list[Any]:
        return [event.body for event in self.seen if isinstance(event.body, kinds)]

    async def close(self) -> None:
        await self.conversations.close()
        self.journal.close()
        self.database.close()


ECHO = Reply(reasoning="let me look", calls=(("echo", '{"x": "12"}'),))
DONE = Reply(reasoning="so it is", text="It is 12.")


def assert_recorded(bench: Bench) -> None:
    """What was shown is what is stored, and everything that began has ended."""
    stored = fold_all(bench.journal.events(bench.id))
    live = bench.live
    assert replace(live, updated=0) == replace(stored, updated=0)
    for turn in stored.turns:
        assert turn.status != "running"
        for step in turn.steps:
            assert all(not part.open for part in step.parts)
            assert all(tool.status is not None for tool in step.tools)
            assert step.call is None or step.call.ended
    seqs = [event.seq for event in bench.journal.events(bench.id)]
    assert seqs == list(range(1, len(seqs) + 1))
