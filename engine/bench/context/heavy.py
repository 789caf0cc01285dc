"""Heavy mode: several trajectories from one prefix at once, beside one alone.

A step of S sequences reads everything but routed experts once, the experts that any of them chose,
and each one's own latents. With random routing, S tokens meet E (1 - (1 - K/E)^S) of E experts.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.bench.context.chat import Stream, stream, streamed, user
from engine.bench.context.models import words
from engine.bench.context.process import Served, served
from engine.bench.figures import Figure, figure
from engine.config import ModelConfig
from engine.errors import ResourceError
from engine.placement.footprint import footprint
from engine.protocol import WeightForm

TRAJECTORIES = 8
_LEAST = 3.0
_ALONE = 3
"""Single trajectories, whose median counts."""


def heavy_figures(
    folder: Path, prefix: int, threads: int = 0, tokens: int = 160
) -> Iterator[Figure]:
    """Tokens a second of eight over those of one, and how often the prefix was computed."""
    text = "".join(random.Random(3).choices(words(), k=prefix))
    # As models of K2's size are loaded by themselves.
    with served(folder, threads, dtype="bfloat16", mode="fast") as engine:
        together = asyncio.run(_trajectories(engine, text, TRAJECTORIES, tokens))
        alone = [asyncio.run(_trajectories(engine, text, 1, tokens, 50 + i)) for i in range(_ALONE)]
        status = engine.status()
    many, one = _speed(together), statistics.median(map(_speed, alone))
    config = ModelConfig.from_folder(folder)
    form: WeightForm = "float32" if status.dtype == "float32" else "bf16"
    yield figure(
        "heavy8",
        many / one,
        "x",
        "limit",
        _LEAST,
        threads=threads,
        note=f"at least; random routing foretells {_foretold(config, form, prefix):.2f}; "
        f"{many:.0f} tokens/s of {TRAJECTORIES}, {one:.0f} of 1, after {prefix:,}",
    )
    prompt, computed = _prompt_tokens(together)
    yield figure(
        "heavy8.prefix",
        computed / prompt,
        "x",
        "limit",
        1 + TRAJECTORIES / prompt,
        threads=threads,
        note=f"{computed:,} tokens computed for {TRAJECTORIES} prompts of {prompt:,}: "
        "once, and the last by each",
    )


async def _trajectories(
    engine: Served, text: str, count: int, tokens: int, seed: int = 0
) -> list[Stream]:
    async with engine.async_client() as http:
        streams = await asyncio.gather(
            *(
                stream(http, streamed([user(text)], seed=seed + i, max_tokens=tokens))
                for i in range(count)
            )
        )
    for seen in streams:
        if seen.error is not None or len(seen.times) < 2:
            raise ResourceError("bench_failed", f"a trajectory broke off: {seen}")
    return streams


def _speed(streams: Sequence[Stream]) -> float:
    """Tokens a second while all of them write: random ones may end early."""
    begin = max(seen.times[0] for seen in streams)
    end = min(seen.times[-1] for seen in streams)
    written = sum(begin < at <= end for seen in streams for at in seen.times)
    return written / (end - begin) if end > begin else 0.0


def _prompt_tokens(streams: Sequence[Stream]) -> tuple[int, int]:
    """Of one prompt, and how many were computed for all."""
    usages = [seen.usage for seen in streams if seen.usage is not None]
    computed = sum(u.prompt_tokens - u.prompt_tokens_details.cached_tokens for u in usages)
    return usages[0].prompt_tokens, computed


def _foretold(config: ModelConfig, form: WeightForm, context: int) -> float:
    """By the bytes that a step must read."""
    weighs = footprint(config)

    def step(sequences: int) -> float:
        share = 1 - (1 - config.num_experts_per_tok / config.n_routed_experts) ** sequences
        experts = weighs.expert_count * share * weighs.expert_bytes
        latents = sequences * context * weighs.kv_bytes_per_token
        return weighs.dense_bytes(form) + experts + latents

    return TRAJECTORIES * step(1) / step(TRAJECTORIES)
