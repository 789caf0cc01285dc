"""FP8 e4m3 with one scale per block of 128 x 128, as DeepSeek-V3 stores its linear layers.

DeepSeek-V3 (arXiv:2412.19437), section 3.3. Value = e4m3 number times its block's scale, which the
files call ``weight_scale_inv``; blocks at the lower and right edge may overhang.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 128
_SLAB = 8 * BLOCK
"""Rows widened at a time, so that a large matrix needs little memory besides the result."""


def dequantise(weight: Tensor, scale: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Codes uint8 [out, in] and float32 scales per block -> [out, in] of `dtype`.

    The product is formed in float32, then rounded to `dtype`.
    """
    rows, columns = weight.shape
    result = torch.empty(rows, columns, dtype=dtype)
    for top in range(0, rows, _SLAB):
        slab = weight[top : top + _SLAB].view(torch.float8_e4m3fn).to(torch.float32)
        blocks = scale[top // BLOCK : -(-(top + len(slab)) // BLOCK)]
        wide = blocks.repeat_interleave(BLOCK, 0)[: len(slab)]  # [out/128, in/128] -> [out, in/128]
        wide = wide.repeat_interleave(BLOCK, 1)[:, :columns]  # [out, in/128] -> [out, in]
        result[top : top + _SLAB] = slab.mul_(wide)
    return result
