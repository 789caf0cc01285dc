"""The small parts: norm and gated feed-forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from engine.model.linear import Linear

if TYPE_CHECKING:
    from engine.experts.native import NativeExperts

LATENT_NORM_EPS = 1e-6
"""q_a and kv_a norms: the DeepSeek-V3 reference leaves them at its class default."""


@dataclass(frozen=True, slots=True)
class RMSNorm:
    """x / rms(x) * weight, in float32 (Zhang & Sennrich 2019, arXiv:1910.07467)."""

    weight: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        """[..., H] -> [..., H], same dtype."""
        wide = F.rms_norm(x.float(), self.weight.shape, None, self.eps)
        return self.weight * wide.to(x.dtype)


@dataclass(frozen=True, slots=True)
class SwiGLU:
    """down(silu(gate(x)) * up(x)); gate and up H -> I, down I -> H."""

    gate: Linear
    up: Linear
    down: Linear

    def __call__(self, x: Tensor) -> Tensor:
        """[T, H] -> [T, H]"""
        inner = F.silu(self.gate(x)) * self.up(x)  # [T, H] -> [T, I]
        return self.down(inner)


@dataclass(frozen=True, slots=True)
class NativeSwiGLU:
    """The same in one job of the native kernels, which know it by its number; in float32."""

    kernels: NativeExperts
    number: int

    def __call__(self, x: Tensor) -> Tensor:
        """[T, H] -> [T, H]. Raises Aborted."""
        return self.kernels.swiglu(self.number, x).to(x.dtype)
