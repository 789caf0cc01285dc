"""A short chat while a long prompt is read: the time between its tokens, beside an idle engine."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Iterator
from pathlib import Path

import httpx2

from engine.bench.context.chat import Stream, stream, streamed, user
from engine.bench.context.models import words
from engine.bench.context.process import Served, served
from engine.bench.figures import Figure, figure
from engine.errors import ResourceError

LIMIT = 2.5
_REPLY_TOKENS = 48
_IDLE_REPLIES = 4


def mixed_figure(folder: Path, long: int, seconds: float, threads: int = 0) -> Iterator[Figure]:
    """The 95th percentile between tokens while `long` tokens are read, over the idle median's.

    Replies follow each other until the long prompt is read or `seconds` are over.
    """
    with served(folder, threads) as engine:
        idle, busy, reading = asyncio.run(_both(engine, long, seconds))
    read = reading.progress.done if reading.progress is not None else 0
    if not read:
        raise ResourceError("bench_failed", f"the long prompt was not read: {reading.error}")
    still, moving = percentile(idle, 95), percentile(busy, 95)
    yield figure(
        "mixed.p95",
        1e3 * moving,
        "ms",
        "limit",
        1e3 * LIMIT * still,
        threads=threads,
        note=f"{moving / still:.2f} x idle ({1e3 * still:.1f} ms, {LIMIT} allowed); "
        f"median {1e3 * statistics.median(busy):.1f}, idle {1e3 * statistics.median(idle):.1f}; "
        f"{len(busy)} gaps while {read:,} of {long:,} tokens were read",
    )


def percentile(values: list[float], share: int) -> float:
    """By the nearest rank. Raises ResourceError where there are too few to tell."""
    if len(values) < 20:
        raise ResourceError("bench_failed", f"only {len(values)} tokens were written")
    return sorted(values)[-(-len(values) * share // 100) - 1]


async def _both(
    engine: Served, long: int, seconds: float
) -> tuple[list[float], list[float], Stream]:
    """Gaps between tokens while idle, the same while reading, and how far the reading came."""
    loop = asyncio.get_running_loop()
    async with engine.async_client() as http:
        for _ in range(2):
            idle = [g for i in range(_IDLE_REPLIES) for g in await _chat(http, i)]
        text = "".join(random.Random(5).choices(words(), k=long))
        reading = Stream()
        prompt = streamed([user(text)], max_tokens=1)
        task = asyncio.create_task(stream(http, prompt, into=reading))
        while not (reading.progress or task.done()):
            await asyncio.sleep(0.01)
        busy: list[float] = []
        until, number = loop.time() + seconds, 100
        while not task.done() and (loop.time() < until or len(busy) < 2 * _REPLY_TOKENS):
            busy += await _chat(http, number := number + 1)
        task.cancel()
        await asyncio.wait({task})
    return idle, busy, reading


async def _chat(http: httpx2.AsyncClient, seed: int) -> list[float]:
    """A short question's reply: seconds between its tokens."""
    request = streamed([user(f"the question {seed}")], seed=seed, max_tokens=_REPLY_TOKENS)
    return (await stream(http, request)).gaps
