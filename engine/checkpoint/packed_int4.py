"""INT4 in groups of 32, as compressed-tensors' ``pack-quantized`` stores it.

The published layout keeps int32 words [out, in/8], lowest nibble first; on a little-endian
machine those are, byte for byte, uint8 pairs [out, in/2] whose low nibble is the even column.
Value = nibble - 8, times the bf16 scale of its group.
"""

from __future__ import annotations

import torch
from torch import Tensor

GROUP = 32


def unpack(packed: Tensor, scale: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 [out, in/2] and scales [out, in/32] -> [out, in] of `dtype`.

    The product is formed in the scale's own dtype widened to float32, so bf16 scales are exact.
    """
    values = nibbles(packed).to(torch.float32).unflatten(-1, (-1, GROUP))  # [out, in/32, 32]
    product: Tensor = values * scale.float().unsqueeze(-1)
    return product.flatten(-2).to(dtype)  # [out, in/32, 32] -> [out, in]


def nibbles(packed: Tensor) -> Tensor:
    """Signed values -8..7 as int8. uint8 [out, in/2] -> [out, in]"""
    low, high = packed & 0x0F, packed >> 4
    return (torch.stack((low, high), -1).flatten(-2)).to(torch.int8) - 8


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest INT4 values with absmax/7 scales: (uint8 [out, in/2], bf16 [out, in/32])."""
    groups = weight.float().unflatten(-1, (-1, GROUP))  # [out, in] -> [out, in/32, 32]
    scale = (groups.abs().amax(-1) / 7.0).clamp_min(1e-8).bfloat16()  # [out, in/32]
    values = (groups / scale.float().unsqueeze(-1)).round().clamp(-8, 7).flatten(-2)
    return pack(values.to(torch.int8)), scale


def pack(values: Tensor) -> Tensor:
    """int8 -8..7 [out, in] -> uint8 [out, in/2], even column in the low nibble."""
    shifted = (values + 8).to(torch.uint8)
    low, high = shifted[:, 0::2], shifted[:, 1::2]  # [out, in] -> 2 x [out, in/2]
    return low | (high << 4)
