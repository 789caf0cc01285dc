"""Attention by itself: decode over pages of latents, and a prompt's chunk.

All of K2's heads read a latent once and do 139 kFLOP with it, so that arithmetic is the ceiling;
for a few heads it is memory. Two layers take turns: in a model none finds its latents in a cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import cycle

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.bench.ceilings import multiply_adds, streaming_read
from engine.bench.figures import Against, Figure, figure
from engine.bench.turns import alternate, repeat
from engine.cache.latent_pool import PAGE_TOKENS, LatentForm, LatentPool, pack_rows
from engine.config import ModelConfig
from engine.native import _kernels

DEPTH = 1 << 16
"""Positions of ``attention64k``."""
LINEAR_LEAST = 0.99
_NOPE, _ROPE, _VALUE, _RANK = 128, 64, 128, 512
_WIDTH = _RANK + _ROPE
_HEADS, _FEW, _PROMPT_HEADS = 64, 4, 16
_FORMS: tuple[LatentForm, ...] = ("bf16", "int8")
_TOKENS, _BLOCK = 512, 1024
_CONFIG = {
    "model_type": "kimi_k2",
    "hidden_size": 64,
    "intermediate_size": 64,
    "moe_intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": _HEADS,
    "kv_lora_rank": _RANK,
    "qk_nope_head_dim": _NOPE,
    "qk_rope_head_dim": _ROPE,
    "v_head_dim": _VALUE,
    "n_routed_experts": 2,
    "num_experts_per_tok": 1,
    "vocab_size": 64,
    "max_position_embeddings": 1 << 18,
}
_SCALE = 0.1


def attention_figures(
    isa: str,
    threads: int,
    seconds: float = 8.0,
    turn: float = 0.25,
    depth: int = DEPTH,
    ceiling_mebibytes: int = 1024,
) -> Iterator[Figure]:
    """``attention64k…``, ``attention.linear`` and ``attention.prefill…``.

    `seconds` for each comparison, of turns of `turn` seconds.
    """
    read = streaming_read(threads, turn, ceiling_mebibytes)
    peak = multiply_adds(isa, threads, turn)
    name = "attention64k" if depth == DEPTH else f"attention{depth}"
    with closing(_kernels.Experts(threads, isa=isa)) as pool:

        def compared(
            what: str, ours: Callable[[], float], work: float, against: Against, note: str
        ) -> Figure:
            ceiling, unit = (read, "GB/s") if against == "read ceiling" else (peak, "GFLOP/s")
            speed, limit = alternate([ours, ceiling], seconds)
            return figure(
                what,
                speed.median * work / 1e9,
                unit,
                against,
                limit.median / 1e9,
                isa=isa,
                threads=threads,
                best=speed.best * work / 1e9,
                against_best=limit.best / 1e9,
                note=f"{note}, {1e3 / speed.median:.2f} ms a layer",
            )

        for form in _FORMS:
            pages = _Pages.random(form, 2 * depth)
            many, few = (_Decode(pool, pages, heads) for heads in (_HEADS, _FEW))
            work = depth * many.operations
            rate = partial(many.rate, depth, turn)
            yield compared(f"{name}.k2.{form}", rate, work, "fma peak", f"{_HEADS} heads")
            rate = partial(few.rate, depth, turn)
            work = depth * pages.row_bytes
            yield compared(f"{name}.few.{form}", rate, work, "read ceiling", f"{_FEW} heads")
            if form == "bf16":
                yield _linear(many, depth, seconds, isa, threads)
        for total in sorted({_TOKENS, max(_TOKENS, depth // 4)}):
            prompt = _Prompt(pool, total)
            note = f"{_TOKENS} tokens, the last of {total:,}, {_PROMPT_HEADS} heads"
            rate = partial(prompt.rate, turn)
            yield compared(f"attention.prefill.{total}", rate, prompt.operations, "fma peak", note)


@dataclass(frozen=True, slots=True)
class _Pages:
    """Two layers of one sequence's latents, as the engine keeps them."""

    pool: LatentPool
    table: NDArray[np.int32]

    @classmethod
    def random(cls, form: LatentForm, positions: int) -> _Pages:
        pages = positions // PAGE_TOKENS
        pool = LatentPool(ModelConfig.from_dict(_CONFIG), pages, form)
        some = torch.randn(2 * PAGE_TOKENS, _WIDTH, generator=torch.Generator().manual_seed(1))
        rows = pack_rows(some, _RANK) if form == "int8" else some
        pool.data.copy_(rows.view(1, 2, PAGE_TOKENS, -1))
        return cls(pool, np.arange(pages, dtype=np.int32))

    @property
    def row_bytes(self) -> int:
        return self.pool.row * self.pool.data.element_size()


class _Decode:
    """One token's attention, by turns in two layers."""

    def __init__(self, pool: _kernels.Experts, pages: _Pages, heads: int) -> None:
        self._pool, self._pages, self._heads = pool, pages, heads
        self._query = torch.randn(1, heads * _WIDTH, generator=torch.Generator().manual_seed(2))
        self._layer = cycle((0, 1))

    @property
    def operations(self) -> int:
        """Of a position: a score and a weighted sum for each head."""
        return 2 * self._heads * (_WIDTH + _RANK)

    def once(self, depth: int) -> None:
        """Over `depth` positions."""
        _kernels.attend_latents(
            self._pool,
            self._query,
            [(self._pages.pool.data, self._pages.table, depth - 1, 1)],
            next(self._layer),
            heads=self._heads,
            rank=_RANK,
            rope=_ROPE,
            softmax_scale=_SCALE,
        )

    def rate(self, depth: int, seconds: float) -> float:
        """Tokens and layers per second."""
        return repeat(lambda: self.once(depth), seconds)


def _linear(decode: _Decode, depth: int, seconds: float, isa: str, threads: int) -> Figure:
    """How well a straight line foretells the time of contexts from a sixteenth to twice `depth`."""
    depths = [depth >> shift for shift in range(4, -1, -1)] + [2 * depth]
    times = [float("inf")] * len(depths)
    until = time.perf_counter() + 2 * seconds
    rounds = 0
    while rounds < 3 or time.perf_counter() < until:
        for i, n in enumerate(depths):
            began = time.perf_counter()
            decode.once(n)
            times[i] = min(times[i], time.perf_counter() - began)
        rounds += 1
    fit = np.polynomial.Polynomial.fit(depths, times, 1)
    rest = np.square(np.asarray(times) - fit(np.asarray(depths))).sum()
    r2 = float(1 - rest / np.square(np.asarray(times) - np.mean(times)).sum())
    return figure(
        "attention.linear",
        r2,
        "R²",
        "limit",
        LINEAR_LEAST,
        isa=isa,
        threads=threads,
        note="at least; "
        + ", ".join(f"{n:,}: {1e3 * t:.1f} ms" for n, t in zip(depths, times, strict=True)),
    )


class _Prompt:
    """A chunk of a prompt; its keys and values come from the same few blocks again and again."""

    def __init__(self, pool: _kernels.Experts, total: int) -> None:
        self._pool, self._total = pool, total
        draw = torch.Generator().manual_seed(3)

        def rows(count: int, width: int) -> Tensor:
            return torch.randn(count, width, generator=draw)

        block = min(_BLOCK, self._total)
        self._query = rows(_TOKENS, _PROMPT_HEADS * (_NOPE + _ROPE))
        self._up = rows(block, _PROMPT_HEADS * (_NOPE + _VALUE))
        self._latents = rows(block, _WIDTH)

    @property
    def operations(self) -> int:
        """Of what tokens may see, no more."""
        pairs = _TOKENS * (2 * self._total - _TOKENS + 1) // 2
        return 2 * _PROMPT_HEADS * pairs * (_NOPE + _ROPE + _VALUE)

    def rate(self, seconds: float) -> float:
        """Chunks and layers per second."""
        return repeat(self._once, seconds)

    def _once(self) -> None:
        prefill = _kernels.Prefill(
            self._pool,
            self._query,
            self._total - _TOKENS,
            heads=_PROMPT_HEADS,
            nope=_NOPE,
            rope=_ROPE,
            value=_VALUE,
            rank=_RANK,
            softmax_scale=_SCALE,
        )
        for begin in range(0, self._total, _BLOCK):
            count = min(_BLOCK, self._total - begin)
            prefill.add(self._up[:count], self._latents[:count])
        prefill.result()
