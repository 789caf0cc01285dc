"""A long conversation after a restart: its first token from the snapshot, beside a cold one."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engine.bench.context.chat import ask, user
from engine.bench.context.models import words
from engine.bench.context.process import Served, served
from engine.bench.figures import Figure, figure
from engine.cache.latent_pool import PAGE_TOKENS
from engine.protocol import ChatMessage, SnapshotOptions

_LEAST = 20.0
_WRITE_SECONDS = 120.0


def snapshot_figure(folder: Path, depth: int, threads: int = 0) -> Iterator[Figure]:
    """Seconds to the first token of `depth` tokens: cold over after a restart."""
    text = "".join(random.Random(9).choices(words(), k=depth))
    question = [user(text)]
    with tempfile.TemporaryDirectory() as kept:
        options = {"snapshots": msgspec.to_builtins(SnapshotOptions(kept))}
        with served(folder, threads, **options) as engine:
            cold, _, _ = _first_token(engine, question)
            writing = _written(engine)
        size = sum(path.stat().st_size for path in Path(kept).rglob("*") if path.is_file())
        with served(folder, threads, **options) as engine:
            warm, prompt, cached = _first_token(engine, question)
    yield figure(
        "snapshot", cold / warm, "x", "limit", _LEAST, threads=threads,
        note=f"at least; {cold:.1f} s cold, {warm:.2f} s after a restart: {cached} of {prompt} "
        f"tokens from {size / 2**20:,.0f} MiB on disk, written in {writing:.0f} s",
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
