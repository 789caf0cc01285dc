"""Symmetric INT4 in groups of 32 columns, shared by training (fake-quant) and export.

Layout of the packed form: compressed-tensors ``pack-quantized`` as in published K2 checkpoints
(value = nibble - 8, lowest nibble first in each int32).
"""

from __future__ import annotations

import torch

from .config import GROUP_SIZE


def scales(weight: torch.Tensor) -> torch.Tensor:
    """The bf16 scale of each group: absmax / 7, rounded to bf16. [out, in] -> [out, in/32]."""
    groups = (
        weight.detach().float().unflatten(-1, (-1, GROUP_SIZE))
    )  # [out, in] -> [out, in/32, 32]
    return (groups.abs().amax(-1) / 7.0).clamp_min(1e-8).bfloat16()  # [out, in/32]


def levels(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Integers -8..7 (as float32) nearest to weight / scale. [out, in] -> [out, in/32, 32]."""
    groups = (
        weight.detach().float().unflatten(-1, (-1, GROUP_SIZE))
    )  # [out, in] -> [out, in/32, 32]
    return (groups / scale.float().unsqueeze(-1)).round_().clamp_(-8, 7)


def dequantised(weight: torch.Tensor) -> torch.Tensor:
    """The float32 values that the exported INT4 form stands for. [out, in] -> [out, in]."""
    scale = scales(weight)
    return (levels(weight, scale) * scale.float().unsqueeze(-1)).flatten(-2)


def fake_quant(weight: torch.Tensor) -> torch.Tensor:
    """Quantised forward, straight-through backward (Bengio et al. 2013, arXiv:1308.3432)."""
    return weight + (dequantised(weight) - weight).detach()


def pack(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight_packed int32 [out, in/8], weight_scale bf16 [out, in/32])."""
    scale = scales(weight)
    nibbles = (levels(weight, scale).flatten(-2) + 8).to(torch.int64).unflatten(-1, (-1, 8))
    shifts = torch.arange(0, 32, 4, dtype=torch.int64)
    words = (nibbles << shifts).sum(-1)  # [out, in/8, 8] -> [out, in/8]
    words = torch.where(words >= 2**31, words - 2**32, words)
    return words.to(torch.int32), scale
