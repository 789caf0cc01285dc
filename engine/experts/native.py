"""Routed INT4 experts on our C++ kernels, read in place from the mapped checkpoint."""

from __future__ import annotations

from typing import Literal

import psutil
import torch
from torch import Tensor

from engine.errors import Aborted, CheckpointError, ResourceError
from engine.experts.base import ExpertWeights, PackedMatrix, Ticket, check_submission
from engine.native import _kernels

Mode = Literal["exact", "fast"]


class NativeExperts:
    """Implements :class:`engine.experts.base.ExpertBackend` on a pool of sleeping threads.

    ``mode`` ``exact`` keeps activations in float32; ``fast`` quantises them to INT8 per group of
    32. ``threads`` 0 takes one per physical core.
    """

    def __init__(self, threads: int = 0, isa: str = "auto", mode: Mode = "exact") -> None:
        self._pool = _kernels.Experts(
            threads or psutil.cpu_count(logical=False) or 1, isa=isa, mode=mode
        )

    @property
    def name(self) -> str:
        return f"native {self._pool.isa}"

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        """Raises CheckpointError ``unsupported_experts`` for anything but INT4."""
        try:
            self._pool.add_layer(layer, [_arrays(e) for e in experts])
        except _kernels.InputError as error:
            raise CheckpointError("wrong_shape", f"experts of layer {layer}: {error}") from error

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        check_submission(x, ids, weights)
        return self._pool.submit(layer, x, ids, weights)

    def wait(self, ticket: Ticket) -> Tensor:
        assert isinstance(ticket, _kernels.Ticket)
        try:
            return torch.from_numpy(self._pool.wait(ticket))
        except _kernels.AbortedError:
            raise Aborted() from None
        except _kernels.ClosedError:
            raise ResourceError("model_unloaded", "the model was unloaded") from None

    def abort(self) -> None:
        self._pool.abort()

    def close(self) -> None:
        self._pool.close()


def _arrays(expert: ExpertWeights) -> list[Tensor]:
    """Packed words and scales of gate, up and down, as the kernels take them."""
    arrays: list[Tensor] = []
    for matrix in (expert.gate, expert.up, expert.down):
        if not isinstance(matrix, PackedMatrix):
            raise CheckpointError(
                "unsupported_experts",
                "the native kernels read INT4 experts only",
                "choose the reference experts for this checkpoint",
            )
        arrays += [matrix.packed.view(torch.int32), matrix.scale]  # uint8 [O, I/2] -> [O, I/8]
    return arrays
