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
    rows: int

    def __call__(self, x: Tensor) -> Tensor:
        """[T, I] -> [T, O]. Raises Aborted."""
        return self.kernels.linear((self.number,), x).to(x.dtype)


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
    border: int
    """O, where the second one's results begin."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[T, I] -> [T, O], [T, P], parts of one tensor. Raises Aborted."""
        both = self.kernels.linear(self.numbers, x).to(x.dtype)  # [T, O+P]
        return both[:, : self.border], both[:, self.border :]


def beside(first: Linear, second: Linear) -> LinearPair:
    """Both for one input, in one job where the native kernels serve them."""
    if isinstance(first, NativeLinear) and isinstance(second, NativeLinear):
        return NativePair(first.kernels, (first.number, second.number), first.rows)
    return Separate(first, second)
