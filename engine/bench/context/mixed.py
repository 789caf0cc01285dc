"""A short chat while a long prompt is read: the time between its tokens, beside an idle engine."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
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
_DEEP = 0.85
"""Share of the long prompt after which it is watched again: there each of its tokens costs most."""


def mixed_figure(folder: Path, long: int, seconds: float, threads: int = 0) -> Iterator[Figure]:
    """The 95th percentile between tokens while `long` tokens are read, over the idle one.

    Replies follow each other for `seconds` at the prompt's beginning and again at its end, between
    which it is read alone. The worse of the two counts.
    """
    with served(folder, threads) as engine:
        idle, early, late, read = asyncio.run(_both(engine, long, seconds))
    still = percentile(idle, 95)
    moving = max(percentile(early.gaps, 95), percentile(late.gaps, 95))
    yield figure(
        "mixed.p95",
        1e3 * moving,
        "ms",
        "limit",
        1e3 * LIMIT * still,
        threads=threads,
        note=f"{moving / still:.2f} x idle ({1e3 * still:.1f} ms, {LIMIT} allowed; median "
        f"{1e3 * statistics.median(idle):.1f}) while {read:,} of {long:,} tokens were read: "
        f"{early.described()}; {late.described()}",
    )


@dataclass(frozen=True, slots=True)
class Watch:
    """A short chat's gaps while tokens `begin` .. `end` of the long prompt were read."""

    gaps: list[float]
    begin: int
    end: int

    def described(self) -> str:
        median, tail = statistics.median(self.gaps), percentile(self.gaps, 95)
        return (
            f"from {self.begin:,} to {self.end:,} median {1e3 * median:.1f}, "
            f"95th percentile {1e3 * tail:.1f}, {len(self.gaps)} gaps"
        )


def percentile(values: list[float], share: int) -> float:
    """By the nearest rank. Raises ResourceError where there are too few to tell."""
    if len(values) < 20:
        raise ResourceError("bench_failed", f"only {len(values)} tokens were written")
    return sorted(values)[-(-len(values) * share // 100) - 1]


async def _both(engine: Served, long: int, seconds: float) -> tuple[list[float], Watch, Watch, int]:
    """Gaps between tokens while idle, the same while reading, twice, and how far that came."""
    loop = asyncio.get_running_loop()
    async with engine.async_client() as http:
        for _ in range(2):
            idle = [g for i in range(_IDLE_REPLIES) for g in await _chat(http, i)]
        text = "".join(random.Random(5).choices(words(), k=long))
        reading = Stream()
        prompt = streamed([user(text)], max_tokens=1)
        task = asyncio.create_task(stream(http, prompt, into=reading))
        number = 100

        def done() -> int:
            return reading.progress.done if reading.progress is not None else 0

        async def watch(share: float) -> Watch:
            nonlocal number
            while done() <= share * long and not task.done():
                await asyncio.sleep(0.01)
            if task.done():
                raise ResourceError(
                    "bench_failed", f"the long prompt was not read: {reading.error}"
                )
            begin, until, gaps = done(), loop.time() + seconds, list[float]()
            while not task.done() and (loop.time() < until or len(gaps) < 2 * _REPLY_TOKENS):
                gaps += await _chat(http, number := number + 1)
            return Watch(gaps, begin, done())

        early, late = await watch(0.0), await watch(_DEEP)
        read = done()
        task.cancel()
        await asyncio.wait({task})
    return idle, early, late, read


async def _chat(http: httpx2.AsyncClient, seed: int) -> list[float]:
    """A short question's reply: seconds between its tokens."""
    request = streamed([user(f"the question {seed}")], seed=seed, max_tokens=_REPLY_TOKENS)
    return (await stream(http, request)).gaps
