"""Linear layers: on torch, or on the native kernels where there is no accelerator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from engine.experts.native import NativeExperts


class Linear(Protocol):
    """y = x W^T. [T, I] -> [T, O], dtype of x."""

    def __call__(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class PlainLinear:
    """weight [O, I] in the dtype of what it is given."""

    weight: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """[T, I] -> [T, O]"""
        return F.linear(x, self.weight)


@dataclass(frozen=True, slots=True)
class NativeLinear:
    """A matrix that the native kernels know by its number; computes in float32."""

    kernels: NativeExperts
    number: int

    def __call__(self, x: Tensor) -> Tensor:
        """[T, I] -> [T, O]. Raises Aborted."""
        return self.kernels.linear(self.number, x).to(x.dtype)
