"""One layer of routed experts: decode against memory, prefill against the dot-product peak."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import torch

from engine.bench.ceilings import dot_products, streaming_read
from engine.bench.figures import Figure, figure
from engine.bench.layer_peer import against_kt_kernel
from engine.bench.layer_pool import LayerPool, Unit, layer_pool
from engine.bench.options import Options
from engine.bench.shapes import fitting, random_experts
from engine.bench.turns import alternate
from engine.experts.base import ExpertWeights
from engine.experts.native import Mode, NativeExperts
from engine.verifying.accuracy import expert_output, relative_error, wide_output

ERROR_LIMITS: dict[Mode, float] = {"fast": 5e-3, "exact": 2e-3}
_COINCIDING = 4
_COINCIDING_LIMIT = 1.15
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_ERROR_TOKENS = 8
_PEER_COPIES = 4  # ours, the peer's, and what it holds while it loads


def layer_figures(options: Options) -> Iterator[Figure]:
    """Every figure of the layer, as it is ready."""
    shape, peer = options.shape, options.peers.kt_kernel
    count = fitting(shape, options.experts, 1 if peer is None else _PEER_COPIES)
    options.tell(f"{count} random experts, {count * shape.expert_bytes / 1e9:.2f} GB")
    experts = random_experts(shape, count)
    for isa in options.isas:
        yield _error(options, experts, isa, "fast")
        yield _error(options, experts, isa, "exact")
        for threads in options.threads:
            with layer_pool(options, experts, isa, threads) as pool:
                yield _decode(pool)
                yield _coinciding(pool)
                yield _prefill(pool)
        with layer_pool(options, experts, isa, options.threads[-1]) as pool:
            yield from _batches(pool)
    if peer is not None:
        for threads in options.threads:
            with layer_pool(options, experts, options.isas[-1], threads) as pool:
                yield from against_kt_kernel(pool, peer)


def _decode(pool: LayerPool) -> Figure:
    pool.tell("layer.decode")
    read = streaming_read(pool.threads, pool.options.turn, pool.options.ceiling_mebibytes)
    ours, ceiling = alternate([pool.turn(1), read], pool.options.seconds)
    return pool.speed("layer.decode", ours, pool.reading, "read ceiling", ceiling)


def _coinciding(pool: LayerPool) -> Figure:
    pool.tell("layer.decode4")
    many, one = alternate(
        [pool.turn(_COINCIDING, coincide=True), pool.turn(1)], pool.options.seconds
    )
    return figure(
        "layer.decode4",
        one.median / many.median,
        "x",
        "limit",
        _COINCIDING_LIMIT,
        isa=pool.isa,
        threads=pool.threads,
        best=one.best / many.best,
        note=f"time of {_COINCIDING} tokens with the same experts, by that of one token",
    )


def _prefill(pool: LayerPool) -> Figure:
    pool.tell("layer.prefill512")
    prompt = pool.turn(pool.options.prompt)
    peak = dot_products(pool.isa, pool.threads, pool.options.turn)
    ours, ceiling = alternate([prompt, peak], pool.options.seconds)
    return pool.speed("layer.prefill512", ours, pool.computing, "int8 peak", ceiling)


def _batches(pool: LayerPool) -> Iterator[Figure]:
    """Tokens a second by tokens a call, routed at random."""
    pool.tell("layer.batch")
    sizes = [n for n in _BATCHES if n < pool.options.prompt]
    speeds = alternate([pool.turn(n) for n in sizes], pool.options.seconds, least=1)
    for size, speed in zip(sizes, speeds, strict=True):
        yield pool.speed(f"layer.batch{size}", speed, Unit("tokens/s", float(size)))


def _error(options: Options, experts: list[ExpertWeights], isa: str, mode: Mode) -> Figure:
    options.tell(f"layer.error.{mode}, {isa}")
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(_ERROR_TOKENS, options.shape.hidden, generator=draw)
    with closing(NativeExperts(options.threads[-1], isa, mode)) as pool:
        pool.add_layer(0, experts[:1])
        error = relative_error(expert_output(pool, 0, 0, x), wide_output(x, experts[0]))
    return figure(
        f"layer.error.{mode}",
        error,
        "relative",
        "limit",
        ERROR_LIMITS[mode],
        isa=isa,
        threads=options.threads[-1],
        note=f"one expert against float64, the worst of {_ERROR_TOKENS} tokens",
    )
