"""Random MoE layers in the layouts of published checkpoints, and what they compute in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]


Format = Literal["int4", "int8", "bf16", "fp8", "f32"]
FORMATS: tuple[Format, ...] = ("int4", "int8", "bf16", "fp8", "f32")


@dataclass(frozen=True, slots=True)
class RandomMatrix:
    """One matrix [rows, columns]: what the kernels are given, and its values."""

    parts: tuple[torch.Tensor, ...]
    values: Floats  # [rows, columns]


@dataclass(frozen=True, slots=True)
class RandomLayer:
    experts: tuple[tuple[RandomMatrix, RandomMatrix, RandomMatrix], ...]  # gate, up, down

    def arrays(self) -> list[tuple[tuple[torch.Tensor, ...], ...]]:
        return [tuple(m.parts for m in expert) for expert in self.experts]

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


def random_matrix(
    rng: np.random.Generator, rows: int, columns: int, form: Format = "int4"
) -> RandomMatrix:
    """Scaled so that a unit-variance input gives a unit-variance output: no test is blind."""
    make = {"int4": _int4, "int8": _int8, "bf16": _bf16, "fp8": _fp8, "f32": _f32}
    return make[form](rng, rows, columns)


def _int4(rng: np.random.Generator, rows: int, columns: int) -> RandomMatrix:
    nibbles = rng.integers(0, 16, (rows, columns), dtype=np.uint8)
    words = nibbles[:, 0::2] | (nibbles[:, 1::2] << 4)
    scale = _group_scales(rng, rows, columns, 21.5)  # the mean square of a nibble - 8
    packed = torch.from_numpy(np.ascontiguousarray(words).view(np.int32))
    return RandomMatrix((packed, scale), (nibbles.astype(np.float64) - 8) * _spread(scale))


def _int8(rng: np.random.Generator, rows: int, columns: int) -> RandomMatrix:
    codes = rng.integers(-128, 128, (rows, columns), dtype=np.int8)
    scale = _group_scales(rng, rows, columns, 5461.5)
    return RandomMatrix((torch.from_numpy(codes), scale), codes * _spread(scale))


def _bf16(rng: np.random.Generator, rows: int, columns: int) -> RandomMatrix:
    weight = torch.from_numpy(rng.standard_normal((rows, columns)) / np.sqrt(columns)).bfloat16()
    return RandomMatrix((weight,), weight.double().numpy())


def _f32(rng: np.random.Generator, rows: int, columns: int) -> RandomMatrix:
    weight = torch.from_numpy(rng.standard_normal((rows, columns), np.float32) / columns**0.5)
    return RandomMatrix((weight.float(),), weight.float().double().numpy())


def _fp8(rng: np.random.Generator, rows: int, columns: int) -> RandomMatrix:
    """Every code but the two that are no numbers: subnormals and the largest are among them."""
    codes = rng.integers(0, 127, (rows, columns), dtype=np.uint8)
    codes |= rng.integers(0, 2, (rows, columns), dtype=np.uint8) << 7
    weight = torch.from_numpy(codes)
    blocks = -(-rows // 128), -(-columns // 128)
    scale = rng.uniform(0.5, 1.5, blocks).astype(np.float32) / np.float32(100 * np.sqrt(columns))
    wide = scale.astype(np.float64).repeat(128, 0).repeat(128, 1)[:rows, :columns]
    values = weight.view(torch.float8_e4m3fn).double().numpy()
    return RandomMatrix((weight, torch.from_numpy(scale)), values * wide)


def _group_scales(
    rng: np.random.Generator, rows: int, columns: int, mean_square: float
) -> torch.Tensor:
    spread = rng.uniform(0.5, 1.5, (rows, columns // 32)) / np.sqrt(mean_square * columns)
    return torch.from_numpy(spread).to(torch.bfloat16)


def _spread(scale: torch.Tensor) -> Floats:
    return scale.to(torch.float64).numpy().repeat(32, axis=1)


def random_layer(
    rng: np.random.Generator, experts: int, hidden: int, inter: int, form: Format = "int4"
) -> RandomLayer:
    return RandomLayer(
        tuple(
            (
                random_matrix(rng, inter, hidden, form),
                random_matrix(rng, inter, hidden, form),
                random_matrix(rng, hidden, inter, form),
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
