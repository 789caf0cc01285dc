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


class LinearPair(Protocol):
    """Two linear layers with one input. [T, I] -> [T, O], [T, P]"""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]: ...


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
        return self.kernels.linear((self.number,), x)[0].to(x.dtype)


@dataclass(frozen=True, slots=True)
class Separate:
    """Two linear layers, one after the other."""

    first: Linear
    second: Linear

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[T, I] -> [T, O], [T, P]"""
        return self.first(x), self.second(x)


@dataclass(frozen=True, slots=True)
class NativePair:
    """Two matrices of the native kernels in one job, which quantises their input once."""

    kernels: NativeExperts
    numbers: tuple[int, int]

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[T, I] -> [T, O], [T, P]. Raises Aborted."""
        first, second = self.kernels.linear(self.numbers, x)
        return first.to(x.dtype), second.to(x.dtype)


def beside(first: Linear, second: Linear) -> LinearPair:
    """Both for one input, in one job where the native kernels serve them."""
    if isinstance(first, NativeLinear) and isinstance(second, NativeLinear):
        return NativePair(first.kernels, (first.number, second.number))
    return Separate(first, second)
