"""What a stop costs: to a model's stream that is hung up, and to tool processes that are gone."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from app import events as ev
from app.backends.base import Backend
from app.backends.openai_http import OpenAIBackend
from app.backends.scripted import Reply, ScriptedBackend
from app.bus import Bus
from app.conversations import Conversations
from app.events import Event, RunSettings, Unattended
from app.paths import Paths
from app.settings import Settings
from app.store.db import Database
from app.store.journal import Journal
from app.tools.registry import Toolbox

STREAM_MS, TOOLS_MS = 100.0, 2_500.0
"""The most that a stop may take."""
_MARK = 731_000
"""Seconds that the tools' processes sleep; they are known again by them."""
_PATIENCE = 30.0

_HEEDS = """
import subprocess, time
for n in range(3):
    subprocess.Popen(["sleep", "{mark}"], start_new_session=n % 2 == 0)
print("ready", flush=True)
time.sleep({mark})
"""
_STUBBORN = _HEEDS.replace(
    "time.sleep({mark})",
    "while True:\n    try:\n        time.sleep(60)\n    except BaseException:\n        pass",
)
_SHELL = "sleep {mark} & setsid sleep {mark} & (trap '' INT TERM; sleep {mark}) & echo ready; wait"
WORK = {
    "python": ("python", "code", _HEEDS),
    "stubborn python": ("python", "code", _STUBBORN),
    "shell": ("shell", "command", _SHELL),
}


class Desk:
    """Conversations with the real tools, and whatever model a round wants."""

    def __init__(self, folder: Path) -> None:
        paths = Paths.under(folder)
        paths.make()
        self._database, _ = Database.open(paths.database)
        bus: Bus[Event] = Bus()
        self._waiting: list[tuple[Callable[[Event], bool], asyncio.Event]] = []
        bus.subscribe(self._hear)
        self.journal = Journal(self._database, bus)
        self.tools = Toolbox(Settings, paths)
        self.backend: Backend = ScriptedBackend([Reply(text="Nothing.")])

        async def find(settings: RunSettings) -> Backend:
            return self.backend

        self.conversations = Conversations(
            self.journal, self.tools, find, Settings, lambda _: None, paths.scratch
        )

    async def until(self, seen: Callable[[Event], bool], work: Callable[[], object]) -> None:
        """Do something, and wait for an event."""
        came = asyncio.Event()
        self._waiting.append((seen, came))
        work()
        async with asyncio.timeout(_PATIENCE):
            await came.wait()

    def _hear(self, event: Event) -> None:
        for seen, came in self._waiting:
            if seen(event):
                came.set()
        self._waiting = [one for one in self._waiting if not one[1].is_set()]

    async def close(self) -> None:
        await self.conversations.close()
        await self.tools.close()
        self.journal.close()
        self._database.close()


async def streams(folder: Path, rounds: int, seed: int) -> list[float]:
    """Milliseconds from each stop to the moment in which the endpoint sees the line hung up."""
    chance = random.Random(seed)
    hung_up: asyncio.Queue[float] = asyncio.Queue()
    found: list[float] = []
    desk = Desk(folder)
    async with _endless(hung_up) as port:
        desk.backend = OpenAIBackend(f"http://127.0.0.1:{port}/v1", "", "endless", False)
        for _ in range(rounds):
            id = desk.conversations.create("", "")
            send = partial(
                desk.conversations.send, id, "go", RunSettings(tools=()), Unattended(("*",))
            )
            await desk.until(lambda event: isinstance(event.body, ev.PartDelta), send)
            await asyncio.sleep(chance.uniform(0.0, 0.05))
            began = time.perf_counter()
            await desk.conversations.stop(id, "now")
            async with asyncio.timeout(_PATIENCE):
                found.append(1e3 * (await hung_up.get() - began))
        await desk.backend.close()
    await desk.close()
    return found


@asynccontextmanager
async def _endless(hung_up: asyncio.Queue[float]) -> AsyncIterator[int]:
    """A model on loopback that never ends, 200 tokens a second."""
    line = b'data: {"choices": [{"delta": {"reasoning_content": "and so on "}}]}\n\n'

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        gone = asyncio.create_task(_drained(reader))
        while not gone.done():
            writer.write(line)
            await asyncio.wait([gone], timeout=0.005)
        hung_up.put_nowait(gone.result())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _drained(reader: asyncio.StreamReader) -> float:
    try:
        while await reader.read(65_536):
            pass
    except ConnectionError:
        pass
    return time.perf_counter()


async def tools(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Milliseconds from each stop to the moment in which none of a tool's processes is left."""
    found: dict[str, list[float]] = {name: [] for name in WORK}
    desk = Desk(folder)
    for i in range(rounds):
        for j, (name, (tool, argument, work)) in enumerate(WORK.items()):
            mark = str(_MARK + 10 * i + j)
            call = (tool, json.dumps({argument: work.replace("{mark}", mark)}))
            desk.backend = ScriptedBackend([Reply(calls=(call,)), Reply(text="Nothing.")])
            id = desk.conversations.create("", "")
            send = partial(
                desk.conversations.send, id, "go", RunSettings(tools=(tool,)), Unattended(("*",))
            )
            await desk.until(_ready, send)
            await asyncio.to_thread(_until, mark, 3)
            gone = asyncio.create_task(asyncio.to_thread(_until, mark, 0))
            began = time.perf_counter()
            await desk.conversations.stop(id, "now")
            found[name].append(1e3 * (await gone - began))
    await desk.close()
    return found


def _ready(event: Event) -> bool:
    return isinstance(event.body, ev.ToolOutput) and "ready" in event.body.text


def _alive(mark: str) -> int:
    """Processes with that word in their command lines, not counting those that only hold it."""
    count = 0
    for process in psutil.process_iter(["cmdline", "status"]):
        words, status = process.info["cmdline"] or (), process.info["status"]
        count += list(words[-2:]) == ["sleep", mark] and status != psutil.STATUS_ZOMBIE
    return count


def _until(mark: str, count: int) -> float:
    """The moment in which as many were alive; infinite: not in time. Blocking."""
    end = time.perf_counter() + _PATIENCE
    while _alive(mark) != count:
        if time.perf_counter() > end:
            return float("inf")
        time.sleep(0.005)
    return time.perf_counter()


def stops(folder: Path, rounds: int, seed: int) -> dict[str, Any]:
    """Of a stop: medians and worst times, and what was too slow."""

    async def run() -> tuple[list[float], dict[str, list[float]]]:
        (folder / "streams").mkdir()
        (folder / "tools").mkdir()
        return await streams(folder / "streams", rounds, seed), await tools(
            folder / "tools", max(1, rounds // 8)
        )

    model, work = asyncio.run(run())
    figures: dict[str, Any] = {"rounds": rounds, "stream": _both(model)}
    figures |= {name: _both(times) for name, times in work.items()}
    wrong = ["a stream went on for too long"] if max(model) > STREAM_MS else []
    wrong += [
        f"processes of {name} were left for too long"
        for name, times in work.items()
        if max(times) > TOOLS_MS
    ]
    return figures | {"faults": wrong}


def _both(times: list[float]) -> dict[str, float]:
    return {"median_ms": round(median(times), 1), "worst_ms": round(max(times), 1)}
