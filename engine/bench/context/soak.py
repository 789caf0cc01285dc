"""Many clients at once who ask, leave, cancel, ask for too much or talk nonsense, for minutes."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil

from engine.bench.context.chat import Stream, stream, streamed, user
from engine.bench.context.process import Served, served
from engine.bench.figures import Figure, figure
from engine.protocol import EngineStatus

_DRIFT = 0.03
_STEPS = 2.0
_SAMPLE_SECONDS = 0.25
_LAST_SECONDS = 10.0
_REPLIES = "/v1/chat/completions"
_QUESTIONS = (
    "What is 17*23 + 4?",
    "Sort 9, 3, 7 and 1.",
    "How many letters are in strawberry?",
    "Is 91 prime?",
    "Say hello in three languages.",
)
_NONSENSE = (
    b"{",
    b"[]",
    b'{"messages": 5}',
    b'{"messages": [{"role": "nobody", "content": "x"}]}',
    b'{"messages": [], "temperature": -1}',
    b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": 0, "top_p": 7}',
    b"[" * 100_000,
    b"\xff\xfe\x00",
)


@dataclass(slots=True)
class _Tally:
    """What clients did, and what went wrong."""

    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def check(self, kind: str, fine: bool, seen: object) -> None:
        """Count; keep what is not as it should be."""
        self.done[kind] += 1
        if not fine and len(self.wrong) < 20:
            self.wrong.append(f"{kind}: {str(seen)[:300]}")


def soak_figures(folder: Path, clients: int, minutes: float, threads: int = 0) -> Iterator[Figure]:
    """Streams, pages, cancels and memory after `minutes` of `clients` at once."""
    with served(folder, threads) as engine:
        tally, resident = asyncio.run(_storm(engine, clients, 60 * minutes))
        status = _idle(engine)
    requests = sum(tally.done.values())
    told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(tally.done.items()))
    yield figure(
        "soak.wrong", len(tally.wrong), "replies", "limit", 0.0, threads=threads,
        note=f"{clients} clients, {minutes:g} minutes, {requests:,} requests: {told}"
        + "".join(f"; {w}" for w in tally.wrong[:3]),
    )  # fmt: skip
    yield figure(
        "soak.pages", status.held_pages, "pages", "limit", 0.0, threads=threads,
        note="held by sequences when nothing runs any more",
    )  # fmt: skip
    yield figure(
        "soak.cancel", status.cancel_steps_p99, "steps", "limit", _STEPS, threads=threads,
        note=f"99th percentile from the order to free pages; {status.cancelled:,} in all",
    )  # fmt: skip
    yield figure(
        "soak.memory", _drift(resident), "relative", "limit", _DRIFT, threads=threads,
        note=f"resident {resident[-1] / 2**20:.0f} MiB at the end; last third beside the second",
    )  # fmt: skip


def _idle(engine: Served) -> EngineStatus:
    """Its state when the last request is gone, which may have lost its client just now."""
    until = time.monotonic() + _LAST_SECONDS
    while (status := engine.status()).running + status.waiting and time.monotonic() < until:
        time.sleep(0.05)
    return status


def _drift(resident: list[int]) -> float:
    """Of the last third's mean against the second's; the first fills caches."""
    third = len(resident) // 3
    second, last = resident[third : 2 * third], resident[-third:]
    return abs(sum(last) / sum(second) - 1)


async def _storm(engine: Served, clients: int, seconds: float) -> tuple[_Tally, list[int]]:
    tally = _Tally()
    resident: list[int] = []
    process = psutil.Process(engine.pid)
    until = time.monotonic() + seconds
    async with engine.async_client() as http:
        tasks = [
            asyncio.create_task(_client(http, random.Random(seed), until, tally))
            for seed in range(clients)
        ]
        while len(resident) < 3 or not all(task.done() for task in tasks):
            resident.append(process.memory_info().rss)
            await asyncio.sleep(_SAMPLE_SECONDS)
        await asyncio.gather(*tasks)
    return tally, resident


async def _client(
    http: httpx2.AsyncClient, draw: random.Random, until: float, tally: _Tally
) -> None:
    kinds: dict[Callable[[httpx2.AsyncClient, random.Random, _Tally], Awaitable[None]], int] = {
        _reads: 6,
        _leaves: 4,
        _cancels: 4,
        _asks_whole: 2,
        _asks_too_much: 1,
        _talks_nonsense: 1,
    }
    ways, weights = list(kinds), list(kinds.values())
    while time.monotonic() < until:
        (way,) = draw.choices(ways, weights)
        try:
            await way(http, draw, tally)
        except httpx2.HTTPError as error:
            tally.check(way.__name__, False, repr(error))


def _request(draw: random.Random, **fields: object) -> bytes:
    text = f"{draw.choice(_QUESTIONS)} ({draw.randrange(50)})"
    return streamed([user(text)], max_tokens=draw.randrange(1, 96), **fields)


async def _reads(http: httpx2.AsyncClient, draw: random.Random, tally: _Tally) -> None:
    """To the end."""
    seen = await stream(http, _request(draw))
    tally.check("read", _whole(seen) or await _refused(seen, draw), seen)


async def _leaves(http: httpx2.AsyncClient, draw: random.Random, tally: _Tally) -> None:
    """Closes the connection after some tokens."""
    after = draw.randrange(20)
    seen = await stream(http, _request(draw), enough=lambda s: len(s.times) >= after)
    ended = seen.status == 200 and seen.error is None
    tally.check("left", ended or await _refused(seen, draw), seen)


async def _cancels(http: httpx2.AsyncClient, draw: random.Random, tally: _Tally) -> None:
    """Aborts by the id after a moment, and reads what comes then."""
    name = f"soak-{draw.getrandbits(64):x}"
    request = _request(draw, x_engine={"request_id": name, "return_tokens": True})
    reading = asyncio.create_task(stream(http, request))
    await asyncio.sleep(draw.uniform(0, 0.5))
    await http.post(f"/engine/requests/{name}/abort")
    seen = await reading
    aborted = seen.done and seen.error is not None and seen.error.code == "aborted"
    tally.check("cancelled", aborted or _whole(seen) or await _refused(seen, draw), seen)


async def _asks_whole(http: httpx2.AsyncClient, draw: random.Random, tally: _Tally) -> None:
    """Not as a stream, and half of the time not waiting for it."""
    content = _request(draw, stream=False)
    patience = draw.choice((0.05, 600.0))
    try:
        reply = await http.post(_REPLIES, content=content, timeout=patience)
    except httpx2.TimeoutException:
        tally.check("gave up", True, None)
        return
    tally.check("whole", reply.status_code in (200, 429), reply.text)


async def _asks_too_much(http: httpx2.AsyncClient, draw: random.Random, tally: _Tally) -> None:
    """A prompt beyond the window."""
    content = streamed([user("too much " * draw.choice((3_000, 30_000, 100_000)))])
    reply = await http.post(_REPLIES, content=content)
    code = json.loads(reply.content)["error"]["code"]
    fine = reply.status_code == 400 and code == "context_exceeded"
    tally.check("too much", fine, reply.text)


async def _talks_nonsense(http: httpx2.AsyncClient, draw: random.Random, tally: _Tally) -> None:
    reply = await http.post(_REPLIES, content=draw.choice(_NONSENSE))
    tally.check("nonsense", reply.status_code == 400, reply.text)


def _whole(seen: Stream) -> bool:
    return seen.done and seen.error is None and seen.finish is not None and seen.usage is not None


async def _refused(seen: Stream, draw: random.Random) -> bool:
    """Whether the queue was full, which is an answer too; a client then waits a little."""
    if seen.status != 429 or seen.error is None or seen.error.code != "queue_full":
        return False
    await asyncio.sleep(draw.uniform(0.1, 1.0))
    return True
