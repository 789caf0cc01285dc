"""Routed experts in plain torch: slow, exact, and the yardstick for every other backend."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.checkpoint.fp8_blocks import dequantise
from engine.checkpoint.packed_int4 import unpack
from engine.errors import Aborted
from engine.experts.base import (
    ExpertMatrix,
    ExpertWeights,
    Fp8Matrix,
    PackedMatrix,
    Ticket,
    check_submission,
)


@dataclass(slots=True)
class _Done:
    result: Tensor | None

    @property
    def done(self) -> bool:
        return True


class ReferenceExperts:
    """Computes in float32, one expert after the other, on the calling thread, in `submit`."""

    def __init__(self) -> None:
        self._layers: dict[int, list[ExpertWeights]] = {}
        self._epoch = 0

    @property
    def name(self) -> str:
        return "reference"

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        self._layers[layer] = list(experts)

    def move_expert(self, layer: int, which: int, expert: ExpertWeights) -> None:
        """Compute from these tensors from now on."""
        self._layers[layer][which] = expert

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        check_submission(x, ids, weights)
        experts, epoch = self._layers[layer], self._epoch
        x = x.float()
        out = torch.zeros_like(x)
        for expert in ids.unique().tolist():
            if self._epoch != epoch:
                return _Done(None)
            token, slot = (ids == expert).nonzero(as_tuple=True)
            y = swiglu(x[token], experts[expert])  # [n, H]
            out.index_add_(0, token, y * weights[token, slot, None])
        return _Done(out)

    def wait(self, ticket: Ticket) -> Tensor:
        assert isinstance(ticket, _Done)
        if ticket.result is None:
            raise Aborted()
        return ticket.result

    def abort(self) -> None:
        self._epoch += 1

    def close(self) -> None:
        self._layers.clear()


def dense(matrix: ExpertMatrix) -> Tensor:
    """A float32 matrix [out, in] from any form."""
    if isinstance(matrix, PackedMatrix):
        return unpack(matrix.packed, matrix.scale)
    if isinstance(matrix, Fp8Matrix):
        return dequantise(matrix.weight, matrix.scale)
    return matrix.float()


def swiglu(x: Tensor, expert: ExpertWeights) -> Tensor:
    """down(silu(gate(x)) * up(x)) in float32. [n, H] -> [n, H]"""
    inner = F.silu(F.linear(x, dense(expert.gate))) * F.linear(x, dense(expert.up))  # [n, I]
    return F.linear(inner, dense(expert.down))
