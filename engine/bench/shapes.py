"""Layers to measure on: their sizes, random weights of that size, and random routing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import psutil
import torch
from torch import Tensor

from engine.checkpoint.packed_int4 import GROUP
from engine.errors import ResourceError
from engine.experts.base import ExpertWeights, PackedMatrix

_NIBBLE_SPREAD = math.sqrt((16**2 - 1) / 12 + 0.25)
"""Root mean square of nibble - 8 when all sixteen are as likely."""
_FREE_SHARE = 0.6
"""Of the free memory, what a benchmark may take: others run on this machine too."""


@dataclass(frozen=True, slots=True)
class LayerShape:
    """A layer of routed experts. ``hidden`` and ``inner`` are multiples of 32."""

    hidden: int
    inner: int
    top_k: int

    @property
    def expert_bytes(self) -> int:
        """INT4 with a bf16 scale for each group of 32."""
        return 3 * self.hidden * self.inner * (GROUP // 2 + 2) // GROUP

    @property
    def token_bytes(self) -> int:
        """What one token must read."""
        return self.top_k * self.expert_bytes

    @property
    def token_operations(self) -> int:
        """Multiplications and additions of one token."""
        return self.top_k * 2 * 3 * self.hidden * self.inner


K2_LAYER = LayerShape(hidden=7168, inner=2048, top_k=8)


def fitting(shape: LayerShape, wanted: int, copies: int = 1) -> int:
    """How many experts fit into free memory `copies` times, at most `wanted`.

    Raises ResourceError ``out_of_memory`` when not even one token's experts do.
    """
    free = int(psutil.virtual_memory().available * _FREE_SHARE)
    count = min(wanted, free // (shape.expert_bytes * copies))
    if count < shape.top_k:
        raise ResourceError(
            "out_of_memory",
            f"{shape.top_k * copies} experts of {shape.expert_bytes / 1e6:.1f} MB do not fit into "
            f"the {free / 1e9:.1f} GB that may be taken",
            "close other programs",
        )
    return count


def random_experts(shape: LayerShape, count: int, seed: int = 0) -> list[ExpertWeights]:
    """Experts whose products keep the size of their input: all nibbles as likely, scales vary.

    Plain memory, touched here, so that nothing is left to be fetched while measuring.
    """
    rng = np.random.default_rng(seed)
    return [
        ExpertWeights(
            _matrix(rng, shape.inner, shape.hidden),
            _matrix(rng, shape.inner, shape.hidden),
            _matrix(rng, shape.hidden, shape.inner),
        )
        for _ in range(count)
    ]


def _matrix(rng: np.random.Generator, rows: int, columns: int) -> PackedMatrix:
    packed = torch.from_numpy(rng.integers(0, 256, (rows, columns // 2), np.uint8))
    usual = 1 / (_NIBBLE_SPREAD * math.sqrt(columns))
    scale = rng.uniform(0.5 * usual, 1.5 * usual, (rows, columns // GROUP)).astype(np.float32)
    return PackedMatrix(packed, torch.from_numpy(scale).bfloat16())


class Routing:
    """Random tokens with random experts, made beforehand; each call of `next` gives new ones."""

    def __init__(
        self, shape: LayerShape, experts: int, tokens: int, *, coincide: bool = False, seed: int = 1
    ) -> None:
        rng = np.random.default_rng(seed)
        rows = 1 if coincide else tokens
        self._batches = [
            np.stack([rng.permutation(experts)[: shape.top_k] for _ in range(rows)])
            for _ in range(max(2, 64 // rows))
        ]
        draw = torch.Generator().manual_seed(seed)
        self._x = torch.randn(tokens, shape.hidden, generator=draw).bfloat16()
        self._weights = torch.full((tokens, shape.top_k), 1 / shape.top_k)
        self._tokens = tokens
        self._at = 0

    def next(self) -> tuple[Tensor, Tensor, Tensor]:
        """x bf16 [T, H], ids int32 [T, K], weights float32 [T, K]."""
        rows = self._batches[self._at % len(self._batches)]
        self._at += 1
        ids = torch.from_numpy(np.broadcast_to(rows, (self._tokens, rows.shape[1])).copy())
        return self._x, ids.int(), self._weights
