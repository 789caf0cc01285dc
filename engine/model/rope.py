"""Rotary positions on interleaved pairs, with YaRN.

RoPE: Su et al. 2021 (arXiv:2104.09864). YaRN: Peng et al. 2023 (arXiv:2309.00071), with the
constants of the DeepSeek-V3 reference.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.config import ModelConfig, YarnScaling, yarn_mscale


def inverse_frequencies(config: ModelConfig) -> Tensor:
    """Radians per position of each pair, float32 [P/2]."""
    width = config.qk_rope_head_dim
    exponent = torch.arange(0, width, 2, dtype=torch.float32) / width
    wavelengths: Tensor = config.rope_theta**exponent  # [P/2]
    if config.yarn is None:
        return 1.0 / wavelengths
    return _blend(wavelengths, config.yarn, config.rope_theta, width)


def _blend(wavelengths: Tensor, yarn: YarnScaling, theta: float, width: int) -> Tensor:
    """Fast pairs as trained, slow pairs stretched by the factor, a ramp in between.

    The order of operations is the reference's: at position 262,143 the last bit of a frequency
    turns the angle by a hundredth of a radian.
    """

    def pair_of(rotations: float) -> float:
        span = yarn.original_positions / (rotations * 2 * math.pi)
        return width * math.log(span) / (2 * math.log(theta))

    low = max(math.floor(pair_of(yarn.beta_fast)), 0)
    high = min(math.ceil(pair_of(yarn.beta_slow)), width - 1)
    span = high - low if high != low else 0.001
    ramp = ((torch.arange(width // 2, dtype=torch.float32) - low) / span).clamp(0, 1)
    fast = 1 - ramp
    return 1.0 / (yarn.factor * wavelengths) * (1 - fast) + 1.0 / wavelengths * fast


def amplitude(config: ModelConfig) -> float:
    """The factor on cosines and sines (1 when mscale equals mscale_all_dim, as in K2 and V3)."""
    yarn = config.yarn
    if yarn is None:
        return 1.0
    if yarn.mscale and yarn.mscale_all_dim:
        return yarn_mscale(yarn.factor, yarn.mscale) / yarn_mscale(yarn.factor, yarn.mscale_all_dim)
    return yarn_mscale(yarn.factor, 1.0)


class RotaryTable:
    """Cosines and sines by position, computed where they are needed: no table of 256 K rows."""

    def __init__(self, config: ModelConfig) -> None:
        self._inverse = inverse_frequencies(config)
        self._amplitude = amplitude(config)
        self._interleaved = config.rope_interleaved

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """positions int64 [T] -> cos, sin float32 [T, P/2]."""
        angle = positions.to(torch.float32)[:, None] * self._inverse  # [T] -> [T, P/2]
        return angle.cos() * self._amplitude, angle.sin() * self._amplitude

    def turn(self, x: Tensor, cos: Tensor, sin: Tensor) -> None:
        """:meth:`rotate` in place. x [T, N, P], cos and sin [T, P/2]."""
        paired = x.storage_offset() % 2 == 0 and all(step % 2 == 0 for step in x.stride()[:-1])
        if self._interleaved and x.is_cpu and x.dtype == torch.float32 and paired:
            # A pair is a complex number: one pass over memory instead of nine.
            pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))  # [T, N, P] -> [T, N, P/2]
            pairs *= torch.complex(cos, sin).unsqueeze(1)
        else:
            x.copy_(self.rotate(x.transpose(0, 1), cos, sin).transpose(0, 1))

    def rotate(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Turn each pair by its position's angle. x [..., T, P], cos and sin [T, P/2]."""
        wide = x.float()
        if self._interleaved:
            a, b = wide[..., 0::2], wide[..., 1::2]
        else:
            a, b = wide.chunk(2, -1)
        turned = torch.stack((a * cos - b * sin, b * cos + a * sin), -1)  # [..., T, P/2, 2]
        return turned.flatten(-2).to(x.dtype)  # [..., T, P]
