"""Random MoE layers in the checkpoint's INT4 layout, and what they compute in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Int4Matrix:
    """One matrix [rows, columns] as published: int32 words and bf16 scales, and its values."""

    packed: torch.Tensor  # int32 [rows, columns / 8]
    scale: torch.Tensor  # bfloat16 [rows, columns / 32]
    values: Floats  # [rows, columns]


@dataclass(frozen=True, slots=True)
class RandomLayer:
    experts: tuple[tuple[Int4Matrix, Int4Matrix, Int4Matrix], ...]  # gate, up, down

    def arrays(self) -> list[tuple[torch.Tensor, ...]]:
        return [tuple(a for m in expert for a in (m.packed, m.scale)) for expert in self.experts]

    def forward(self, x: Floats, ids: NDArray[np.int32], weights: NDArray[np.float32]) -> Floats:
        out = np.zeros_like(x)
        for token, (chosen, shares) in enumerate(zip(ids, weights, strict=True)):
            for expert, share in zip(chosen, shares, strict=True):
                gate, up, down = (m.values for m in self.experts[expert])
                h = gate @ x[token]
                h = h / (1 + np.exp(-h)) * (up @ x[token])
                out[token] += float(share) * (down @ h)
        return out


@dataclass(frozen=True, slots=True)
class Call:
    x: NDArray[np.float32]  # [T, H]
    ids: NDArray[np.int32]  # [T, K]
    weights: NDArray[np.float32]  # [T, K]


def random_matrix(rng: np.random.Generator, rows: int, columns: int) -> Int4Matrix:
    """Scaled so that a unit-variance input gives a unit-variance output: no test is blind."""
    nibbles = rng.integers(0, 16, (rows, columns), dtype=np.uint8)
    words = nibbles[:, 0::2] | (nibbles[:, 1::2] << 4)
    # A nibble - 8 has a mean square of 21.5.
    spread = rng.uniform(0.5, 1.5, (rows, columns // 32)) / np.sqrt(21.5 * columns)
    scale = torch.from_numpy(spread).to(torch.bfloat16)
    wide = scale.to(torch.float64).numpy().repeat(32, axis=1)
    values = (nibbles.astype(np.float64) - 8) * wide
    return Int4Matrix(torch.from_numpy(np.ascontiguousarray(words).view(np.int32)), scale, values)


def random_layer(rng: np.random.Generator, experts: int, hidden: int, inter: int) -> RandomLayer:
    return RandomLayer(
        tuple(
            (
                random_matrix(rng, inter, hidden),
                random_matrix(rng, inter, hidden),
                random_matrix(rng, hidden, inter),
            )
            for _ in range(experts)
        )
    )


def random_call(
    rng: np.random.Generator, experts: int, hidden: int, tokens: int, top_k: int
) -> Call:
    """Expert ids are drawn with repeats, also within a token."""
    return Call(
        rng.standard_normal((tokens, hidden), dtype=np.float32),
        rng.integers(0, experts, (tokens, top_k), dtype=np.int32),
        rng.uniform(0.1, 1.0, (tokens, top_k)).astype(np.float32),
    )


def relative_error(got: NDArray[np.float32], want: NDArray[np.floating]) -> float:
    """Norm of the difference over the norm of what is right (0 for an empty result)."""
    norm = float(np.linalg.norm(want))
    return float(np.linalg.norm(got.astype(np.float64) - want)) / norm if norm else 0.0
