"""Models that are built, not trained: some tensors made for a purpose, and experts that do all
their work and add nothing to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from engine.checkpoint.names import Expected
from engine.config import ModelConfig
from engine.making.filling import Filler, bf16

Matrix = NDArray[np.float32]

_ZERO_NIBBLES = 0x88


class Idle(ABC):
    """Bytes of such a model's tensors; what does not matter is random."""

    def __init__(self, config: ModelConfig, seed: int) -> None:
        self._rest = Filler(config, seed)

    def chunks(self, item: Expected, size: int) -> Iterator[memoryview]:
        """`size` bytes for a tensor, in pieces."""
        if item.name.endswith("down_proj.weight_packed"):
            yield memoryview(bytes([_ZERO_NIBBLES]) * size)
        elif (matrix := self._matrix(item)) is not None:
            yield memoryview(bf16(np.ascontiguousarray(matrix, np.float32)).tobytes())
        else:
            yield from self._rest.chunks(item, size)

    def _matrix(self, item: Expected) -> Matrix | None:
        if item.part == "norms":
            return np.ones(item.shape, np.float32)
        if item.name.endswith("down_proj.weight"):
            return np.zeros(item.shape, np.float32)
        return self._built(item)

    @abstractmethod
    def _built(self, item: Expected) -> Matrix | None:
        """A tensor that matters; None: it does not."""
