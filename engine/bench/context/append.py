"""A few tokens more after a long context: through the engine, beside the model's forward pass."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from engine.bench.figures import Figure, figure
from engine.bench.session import session
from engine.bench.turns import alternate
from engine.cache.latent_pool import PAGE_TOKENS
from engine.model.deepseek import Batch, Model
from engine.model.loader import load_model

LIMIT = 1.1
_MORE = 200


def append_figure(
    folder: Path, depth: int, seconds: float, threads: int = 0, more: int = _MORE
) -> Iterator[Figure]:
    """Seconds to the first token when a prompt of `depth` tokens comes again, with `more` behind.

    The limit is relative to computing `more` tokens on a cache of that depth and nothing else:
    what finding, sharing and keeping pages costs is the difference.
    """
    with session(folder, threads) as engine:
        draw = random.Random(1)
        vocab = engine.config.vocab_size // 2
        prompt = draw.choices(range(vocab), k=depth)
        whole = engine.send(prompt, 1).first_seconds
        computed: list[int] = []

        def appended() -> float:
            reply = engine.send([*prompt, *draw.choices(range(vocab), k=more)], 1)
            computed.append(depth + more - reply.cached)
            return 1 / reply.first_seconds

        bare = _bare(folder, engine.status.threads, depth)
        ours, forward = alternate([appended, lambda: bare(draw, more)], seconds)
    yield figure(
        "append64k" if depth == 1 << 16 else f"append{depth}",
        1 / ours.median,
        "s",
        "limit",
        LIMIT / forward.median,
        threads=threads,
        best=1 / ours.best,
        against_best=LIMIT / forward.best,
        note=f"{more} tokens after {depth:,}, {forward.median / ours.median:.3f} x a forward pass "
        f"({LIMIT} allowed); {max(computed)} computed; the {depth:,} took {whole:.1f} s",
    )


def _bare(folder: Path, threads: int, depth: int) -> Callable[[random.Random, int], float]:
    """A forward pass on a model and a cache of its own; it costs the same whatever is in there."""
    model: Model = load_model(folder, threads=threads)
    cache = model.new_cache(depth + _MORE + PAGE_TOKENS)
    cache.reserve(depth)
    for layer in range(model.config.num_hidden_layers):
        cache.write(layer, 0, torch.randn(depth, model.config.latent_dim))
    cache.length = depth

    def forward(draw: random.Random, more: int) -> float:
        tokens = draw.choices(range(model.config.vocab_size // 2), k=more)
        began = time.perf_counter()
        model.forward(Batch([(cache, tokens)]))
        seconds = time.perf_counter() - began
        cache.truncate(depth)
        return 1 / seconds

    return forward
