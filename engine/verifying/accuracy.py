"""How far an expert's output lies from the same sum in float64."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.checkpoint.fp8_blocks import dequantise
from engine.checkpoint.packed_int4 import unpack
from engine.experts.base import (
    ExpertBackend,
    ExpertMatrix,
    ExpertWeights,
    Fp8Matrix,
    PackedMatrix,
)


def expert_output(backend: ExpertBackend, layer: int, expert: int, x: Tensor) -> Tensor:
    """One expert alone with weight one. [T, H] -> float32 [T, H]"""
    ids = torch.full((x.shape[0], 1), expert, dtype=torch.int32)
    return backend.wait(backend.submit(layer, x, ids, torch.ones(x.shape[0], 1)))


def wide_output(x: Tensor, expert: ExpertWeights) -> Tensor:
    """down(silu(gate(x)) * up(x)) in float64. [T, H] -> [T, H]"""
    x = x.double()
    gate, up = F.linear(x, _wide(expert.gate)), F.linear(x, _wide(expert.up))  # [T, I]
    return F.linear(F.silu(gate) * up, _wide(expert.down))


def relative_error(found: Tensor, right: Tensor) -> float:
    """Length of the difference by the length of what is right, the worst row. NaN counts as inf."""
    found, right = found.double(), right.double()
    worst = ((found - right).norm(dim=-1) / right.norm(dim=-1).clamp_min(1e-300)).max()
    return float(worst.nan_to_num(torch.inf, torch.inf))


def _wide(matrix: ExpertMatrix) -> Tensor:
    """Float64 [out, in]: the products of stored values and scales are exact in it."""
    if isinstance(matrix, PackedMatrix):
        return unpack(matrix.packed, matrix.scale, torch.float64)
    if isinstance(matrix, Fp8Matrix):
        return dequantise(matrix.weight, matrix.scale, torch.float64)
    return matrix.double()
