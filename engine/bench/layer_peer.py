"""The layer beside kt-kernel, turn by turn: each of its kernels is tried, its best one counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.bench.figures import Figure
from engine.bench.layer_pool import LayerPool, Unit
from engine.bench.peers.driver import METHODS, KtKernel, Method, kt_kernel
from engine.bench.turns import Speed, alternate
from engine.errors import ResourceError

_LEAST = 2


@dataclass(frozen=True, slots=True)
class _Tried:
    label: str
    ours: Speed
    theirs: Speed


def against_kt_kernel(pool: LayerPool, python: Path) -> Iterator[Figure]:
    """Decode and prefill. A kernel that cannot be had is named in the note."""
    decode: list[_Tried] = []
    prefill: list[_Tried] = []
    absent: dict[str, list[str]] = {}
    for method in METHODS:
        pool.tell(f"kt-kernel {method}")
        try:
            with kt_kernel(python, method, pool.options.shape, pool.experts, pool.threads) as peer:
                decode.append(_compare(pool, peer, method, 1))
                prefill.append(_compare(pool, peer, method, pool.options.prompt))
        except ResourceError as error:
            absent.setdefault(error.message, []).append(method)
    notes = [f"{', '.join(methods)} absent: {why}" for why, methods in absent.items()]
    yield _best(pool, "layer.decode", 1, pool.reading, decode, notes)
    yield _best(pool, "layer.prefill512", pool.options.prompt, pool.computing, prefill, notes)


def _compare(pool: LayerPool, peer: KtKernel, method: Method, tokens: int) -> _Tried:
    label, mine = f"{peer.version} {method}", pool.turn(tokens)
    first = peer.passes_per_second(tokens, 0.0)
    if first * pool.options.seconds < 1:
        # One pass takes longer than all turns may: it has to do, a short while of ours beside it.
        return _Tried(label, Speed((mine(),)), Speed((first,)))
    ours, theirs = alternate(
        [mine, lambda: peer.passes_per_second(tokens, pool.options.turn)],
        pool.options.seconds,
        _LEAST,
    )
    return _Tried(label, ours, theirs)


def _best(
    pool: LayerPool, name: str, tokens: int, unit: Unit, tried: list[_Tried], absent: list[str]
) -> Figure:
    if not tried:
        (ours,) = alternate([pool.turn(tokens)], 0, 1)
        return pool.speed(name, ours, unit, "kt-kernel", note="; ".join(absent))
    best = max(tried, key=lambda entry: entry.theirs.median)
    others = [f"{t.label} {t.theirs.median * unit.per_call:.3g}" for t in tried if t is not best]
    return pool.speed(
        name,
        best.ours,
        unit,
        "kt-kernel",
        best.theirs,
        unit.per_call,
        "; ".join([best.label, *others, *absent]),
    )
