"""A long conversation after a restart: its first token from the snapshot, beside a cold one, and
what a running reply notices of it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import msgspec

from engine.bench.context.chat import Stream, ask, stream, streamed, user
from engine.bench.context.models import words
from engine.bench.context.process import Served, served
from engine.bench.figures import Figure, figure
from engine.cache.latent_pool import PAGE_TOKENS
from engine.errors import ResourceError
from engine.protocol import ChatMessage, SnapshotOptions

_LEAST = 20.0
_WRITE_SECONDS = 120.0
_NOTICED_MS = 100.0
"""Between two tokens of a reply while pages come back for another."""
_CHAT_TOKENS = 400
_REPLIES = 20


def snapshot_figure(folder: Path, depth: int, threads: int = 0) -> Iterator[Figure]:
    """Seconds to the first token of `depth` tokens, cold over after a restart; and the longest time
    between another reply's tokens while the pages come back."""
    text = "".join(random.Random(9).choices(words(), k=depth))
    question = [user(text)]
    with tempfile.TemporaryDirectory() as kept:
        # As models of K2's size are loaded by themselves: latents in bfloat16.
        snapshots = msgspec.to_builtins(SnapshotOptions(kept))
        options = {"snapshots": snapshots, "dtype": "bfloat16"}
        with served(folder, threads, **options) as engine:
            cold, _, _ = _first_token(engine, question)
            writing = _written(engine)
        size = sum(path.stat().st_size for path in Path(kept).rglob("*") if path.is_file())
        with served(folder, threads, **options) as engine:
            warm, prompt, cached = _first_token(engine, question)
        with served(folder, threads, **options) as engine:
            usual, gaps, seconds = asyncio.run(_beside(engine, question))
    yield figure(
        "snapshot", cold / warm, "x", "limit", _LEAST, threads=threads,
        note=f"at least; {cold:.1f} s cold, {warm:.2f} s after a restart: {cached} of {prompt} "
        f"tokens from {size / 2**20:,.0f} MiB on disk, written in {writing:.0f} s",
    )  # fmt: skip
    mean = sum(gaps) / max(len(gaps), 1)
    yield figure(
        "snapshot.gap", 1e3 * max(gaps, default=0.0), "ms", "limit", _NOTICED_MS, threads=threads,
        note=f"at most: the longest time between tokens of a running reply while the pages came "
        f"back for another, in {seconds:.1f} s; mean {1e3 * mean:.1f}, usually "
        f"{1e3 * usual:.1f}",
    )  # fmt: skip


def _written(engine: Served) -> float:
    """Seconds until all pages are on disk: they are written in the background."""
    began = time.monotonic()
    while time.monotonic() < began + _WRITE_SECONDS:
        status = engine.status()
        if status.snapshot_pages >= status.cached_tokens // PAGE_TOKENS:
            break
        time.sleep(0.1)
    return time.monotonic() - began


def _first_token(engine: Served, messages: list[ChatMessage]) -> tuple[float, int, int]:
    """Seconds in the engine, tokens of the prompt, and those that were not computed."""
    with engine.client() as http:
        reply = ask(http, messages, max_tokens=1)
    assert reply.x_engine is not None and reply.x_engine.timings is not None
    timings = reply.x_engine.timings
    return (
        (timings.queue_ms + timings.prefill_ms) / 1e3,
        reply.usage.prompt_tokens,
        reply.usage.prompt_tokens_details.cached_tokens,
    )


async def _beside(engine: Served, question: list[ChatMessage]) -> tuple[float, list[float], float]:
    """Seconds between a short reply's tokens: usually, and each while a long prompt comes from
    disk; and how long that took until its first token. Raises ResourceError ``bench_failed``."""
    async with engine.async_client() as http:
        usual = [gap for i in range(_REPLIES) for gap in (await _chat(http, i)).gaps]
        beside, long = list[Stream](), Stream()
        talk = asyncio.create_task(_talk(http, beside))
        while not beside or not beside[-1].times:
            await asyncio.sleep(0.005)
        await stream(http, streamed(question, max_tokens=1), into=long)
        if not long.times:
            raise ResourceError("bench_failed", f"no answer to the long prompt: {long.error}")
        while not talk.done() and beside[-1].sent < long.times[0]:
            await asyncio.sleep(0.005)
        talk.cancel()
        await asyncio.wait({talk})
    pairs = (pair for reply in beside for pair in zip(reply.times, reply.times[1:], strict=False))
    gaps = [end - begin for begin, end in pairs if end > long.sent and begin < long.times[0]]
    return statistics.mean(usual), gaps, long.times[0] - long.sent


async def _talk(http: httpx2.AsyncClient, replies: list[Stream]) -> None:
    """One short reply after another."""
    for number in itertools.count(_REPLIES):
        replies.append(Stream())
        await _chat(http, number, replies[-1])


async def _chat(http: httpx2.AsyncClient, number: int, into: Stream | None = None) -> Stream:
    request = streamed([user(f"the question {number}")], seed=number, max_tokens=_CHAT_TOKENS)
    return await stream(http, request, into=into)
