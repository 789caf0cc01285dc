"""Random weights at disk speed: a few megabytes drawn once, laid out again and again.

Scaled as in a trained model, so that nothing degenerates: a unit-variance input of any matrix
gives a unit-variance output, and attention logits, router scores and output logits spread by about
one. The lengths of the pools are prime, so that no two rows of a matrix are the same stretch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from engine.checkpoint.names import Expected, expert_shapes
from engine.config import ModelConfig

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_LENGTHS = (131_071, 1_048_573, 4_194_301)
"""Numbers in a pool; a small model is not kept waiting for a large one's."""
_NIBBLE_SPREAD = sqrt(21.5)
"""Root mean square of a nibble - 8."""
_FP8_SPREAD = 100.0
"""Standard deviation of FP8 values: 448, the largest, is about where the rarest normals lie."""


class Filler:
    """Bytes for any tensor of a checkpoint; the same seed gives the same folder."""

    def __init__(self, config: ModelConfig, seed: int) -> None:
        self._config = config
        self._rng = np.random.default_rng(seed)
        self._length = _pool_length(config)
        self._pools: dict[tuple[str, float], Bytes] = {}
        self._normals: Floats | None = None

    def chunks(self, item: Expected, size: int) -> Iterator[memoryview]:
        """`size` bytes for a tensor, in pieces that belong to the filler."""
        if item.name.endswith("weight_shape"):
            yield memoryview(self._shape_record(item).tobytes())
            return
        pool, width = self._pool(item)
        at = int(self._rng.integers(len(pool) // width)) * width
        while size:
            piece = pool[at : at + size]
            yield piece.data
            size -= len(piece)
            at = 0

    def _shape_record(self, item: Expected) -> NDArray[np.int32]:
        """[2]: the rows and columns that packing hides."""
        matrix = item.name.split(".")[-2]
        return np.array(expert_shapes(self._config)[matrix], np.int32)

    def _pool(self, item: Expected) -> tuple[Bytes, int]:
        """Bytes to tile from, and how wide one element is."""
        name, columns = item.name, item.shape[-1]
        if name.endswith("_packed"):
            return self._kept("nibbles", 0.0, lambda: self._rng.bytes(self._length)), 1
        if name.endswith("_scale"):
            sigma = 1 / sqrt(columns * 32) / _NIBBLE_SPREAD
            return self._kept("scale", sigma, lambda: bf16(self._around(sigma))), 2
        if name.endswith("_scale_inv"):
            sigma = 1 / sqrt(columns * 128) / _FP8_SPREAD
            return self._kept("scale_inv", sigma, lambda: self._around(sigma)), 4
        if item.dtypes[0] == "F8_E4M3":
            return self._kept("fp8", 0.0, lambda: e4m3(self._normal() * _FP8_SPREAD)), 1
        if name.endswith("e_score_correction_bias"):
            return self._kept("bias", 0.2, lambda: self._normal() * np.float32(0.2)), 4
        if item.part == "norms":
            return self._kept("norm", 0.1, lambda: bf16(1 + self._normal() * np.float32(0.1))), 2
        sigma = _spread(name, columns)
        return self._kept("bf16", sigma, lambda: bf16(self._normal() * np.float32(sigma))), 2

    def _kept(
        self, kind: str, sigma: float, draw: Callable[[], bytes | NDArray[np.generic]]
    ) -> Bytes:
        pool = self._pools.get((kind, sigma))
        if pool is None:
            pool = self._pools[kind, sigma] = np.frombuffer(draw(), np.uint8)
        return pool

    def _normal(self) -> Floats:
        if self._normals is None:
            self._normals = self._rng.standard_normal(self._length, dtype=np.float32)
        return self._normals

    def _around(self, middle: float) -> Floats:
        drawn = self._rng.uniform(0.5 * middle, 1.5 * middle, self._length)
        return drawn.astype(np.float32)


def _pool_length(config: ModelConfig) -> int:
    """The least length that holds the model's largest matrix, or else the greatest."""
    hidden = config.hidden_size
    largest = hidden * max(config.vocab_size, config.intermediate_size)
    return next((length for length in _LENGTHS if length >= largest), _LENGTHS[-1])


def _spread(name: str, columns: int) -> float:
    if "embed_tokens" in name:
        return 1.0
    gain = 1.6 if "q_b_proj" in name or "q_proj" in name else 1.0
    return gain / sqrt(columns)


def bf16(values: Floats) -> NDArray[np.uint16]:
    """The nearest bfloat16 of finite float32 values, ties to even, as its bits."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def e4m3(values: Floats) -> Bytes:
    """The nearest FP8 e4m3 of finite float32 values, as its bits; beyond ±448 the largest."""
    grid = e4m3_values()[:0x7F]  # 0 and up; 0x7F is not a number
    code = np.searchsorted((grid[1:] + grid[:-1]) / 2, np.abs(values)).astype(np.uint8)
    code[np.signbit(values)] |= 0x80
    return code


def e4m3_values() -> Floats:
    """What each of the 128 codes without a sign stands for; the last is not a number."""
    code = np.arange(128)
    exponent, mantissa = code >> 3, code & 7
    normal = (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    values = np.where(exponent == 0, mantissa * 2.0**-9, normal)
    values[127] = np.nan
    return values.astype(np.float32)
