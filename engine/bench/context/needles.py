"""Needles in haystacks of up to the whole window, in a model whose answers are known beforehand.

At the greatest length also: going on after an answer, a branch from the middle, and the same after
a restart from the snapshot.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.bench.context.haystack import NEEDLE_TOKENS, Haystack, Needle, haystack
from engine.bench.figures import Figure, figure
from engine.bench.session import Reply, Session, session
from engine.config import ModelConfig
from engine.protocol import SnapshotOptions
from engine.types import SamplingParams

DEPTHS = (0.0, 0.2, 0.45, 0.7, 0.95, 1.0)
_SURE = SamplingParams(temperature=0.0, logprobs=True)
_DOUBT = 1e-6
"""Probability that may be left for all other tokens: the built-in margin of 24 leaves 4e-8."""


def needle_figures(folder: Path, lengths: Sequence[int], threads: int = 0) -> Iterator[Figure]:
    """Needles found over needles asked for, at each length; `folder` holds an induction model."""
    config = ModelConfig.from_folder(folder)
    for length in lengths:
        with tempfile.TemporaryDirectory() as kept:
            yield from _at_length(folder, config, length, threads, Path(kept))


def _at_length(
    folder: Path, config: ModelConfig, length: int, threads: int, kept: Path
) -> Iterator[Figure]:
    name, last = f"needle{length >> 10}k", length == config.max_position_embeddings
    # When all needles have been asked for in one context, the window is full.
    room = len(DEPTHS) * NEEDLE_TOKENS
    hay = haystack(length - room, DEPTHS, config.vocab_size, seed=length)
    snapshots = SnapshotOptions(str(kept)) if last else None
    with session(folder, threads, snapshots=snapshots) as engine:
        replies = [engine.send([*hay.tokens, *n.key], len(n.value), _SURE) for n in hay.needles]
        found = sum(map(_is_found, replies, hay.needles))
        seconds = replies[0].first_seconds
        yield _figure(
            name, found, len(hay.needles), threads,
            f"prefill of {length - room:,} tokens in {seconds:.1f} s, then "
            f"{_median(replies[1:]):.2f} s to an answer; least certainty 1 - {_doubt(replies):.0e}",
        )  # fmt: skip
        if not last:
            return
        yield _going_on(engine, hay, name, threads)
        yield _branch(engine, hay, name, threads)
    with session(folder, threads, snapshots=snapshots) as engine:
        needle = hay.needles[2]
        reply = engine.send([*hay.tokens, *needle.key], len(needle.value), _SURE)
        yield _figure(
            f"{name}.snapshot", int(_is_found(reply, needle)), 1, threads,
            f"{reply.cached:,} tokens from disk after a restart, first token after "
            f"{reply.first_seconds:.2f} s ({seconds / reply.first_seconds:.0f} x sooner)",
        )  # fmt: skip


def _going_on(engine: Session, hay: Haystack, name: str, threads: int) -> Figure:
    """One question after the other in one context."""
    tokens, found, cached = list(hay.tokens), 0, len(hay.tokens)
    for needle in reversed(hay.needles):
        tokens += needle.key
        reply = engine.send(tokens, len(needle.value), _SURE)
        found += _is_found(reply, needle)
        cached = min(cached, reply.cached - len(tokens) + len(hay.tokens))
        tokens += reply.ids
    note = f"one context of {len(tokens):,} tokens, the prompt computed once"
    return _figure(f"{name}.continued", found, len(hay.needles), threads, note)


def _branch(engine: Session, hay: Haystack, name: str, threads: int) -> Figure:
    """Half of the haystack, then a question: what is in the half is found, the rest not."""
    half = hay.tokens[: len(hay.tokens) // 2]
    right, computed = 0, 0
    for needle in hay.needles:
        reply = engine.send([*half, *needle.key], len(needle.value), _SURE)
        right += _is_found(reply, needle) == (needle.at < len(half))
        computed = max(computed, len(half) + len(needle.key) - reply.cached)
    note = f"from position {len(half):,}; needles beyond it are not found; {computed} computed"
    return _figure(f"{name}.branch", right, len(hay.needles), threads, note)


def _is_found(reply: Reply, needle: Needle) -> bool:
    return reply.ids == needle.value and -math.expm1(min(reply.logprobs)) < _DOUBT


def _doubt(replies: Sequence[Reply]) -> float:
    return max(0.0, *(-math.expm1(min(r.logprobs)) for r in replies))


def _median(replies: Sequence[Reply]) -> float:
    return sorted(r.first_seconds for r in replies)[len(replies) // 2]


def _figure(name: str, right: int, asked: int, threads: int, note: str) -> Figure:
    return figure(name, right, "found", "limit", asked, threads=threads, note=f"all; {note}")
