"""Dense matrices (attention, shared expert, dense feed-forward, head): in which form, and who
multiplies them.

On a machine without accelerator the native kernels take them as they are stored, or packed to INT8
or INT4 at load to read less memory per token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from engine.checkpoint.packed_int4 import GROUP
from engine.model.layers import NativeSwiGLU, SwiGLU
from engine.model.linear import Linear, NativeLinear, PlainLinear
from engine.model.weights import Weights

if TYPE_CHECKING:
    from engine.experts.native import NativeExperts

DensePrecision = Literal["published", "int8", "int4"]
_BITS = {"int8": 8, "int4": 4}


class Dense:
    """Makes linear layers of a checkpoint's matrices. Engine thread only.

    `kernels` None: torch multiplies everything. `own` says whether the native kernels serve the
    linear layers themselves; else they only lend their forms to a network (`parts`).
    """

    def __init__(
        self,
        weights: Weights,
        kernels: NativeExperts | None = None,
        precision: DensePrecision = "published",
        own: bool = False,
    ) -> None:
        self.weights = weights
        self.kernels = kernels
        self.precision = precision
        self.own = own
        self._parts: dict[str, tuple[Tensor, ...] | None] = {}

    def linear(self, name: str, shape: tuple[int, int]) -> Linear:
        """The layer of matrix `name` [out, in]. Raises CheckpointError."""
        parts = self.parts(name, shape) if self.own else None
        if self.kernels is None or parts is None:
            return PlainLinear(self.weights.matrix(name, shape))
        return NativeLinear(self.kernels, self.kernels.add_matrix(parts))

    def swiglu(self, at: str, hidden: int, inner: int) -> SwiGLU | NativeSwiGLU:
        """The gated feed-forward whose matrices' names begin with `at`. Raises CheckpointError."""
        shapes = {
            f"{at}gate_proj.weight": (inner, hidden),
            f"{at}up_proj.weight": (inner, hidden),
            f"{at}down_proj.weight": (hidden, inner),
        }
        if self.own and self.kernels is not None:
            parts = [self.parts(name, shape) for name, shape in shapes.items()]
            if all(p is not None for p in parts):
                found = tuple(p for p in parts if p is not None)
                return NativeSwiGLU(self.kernels, self.kernels.add_swiglu(found))
        gate, up, down = (self.linear(name, shape) for name, shape in shapes.items())
        return SwiGLU(gate, up, down)

    def parts(self, name: str, shape: tuple[int, int]) -> tuple[Tensor, ...] | None:
        """Data and scales as the kernels take them; None for what they have no format for."""
        if name not in self._parts:
            stored = self.weights.stored(name, shape)
            self._parts[name] = self.packed(stored[0]) if len(stored) == 1 else stored
        return self._parts[name]

    def packed(self, matrix: Tensor) -> tuple[Tensor, ...] | None:
        """A matrix [out, in] of floats in the chosen precision; None for float16."""
        if matrix.dtype not in (torch.bfloat16, torch.float32):
            return None
        bits = _BITS.get(self.precision)
        if bits is None or self.kernels is None or matrix.shape[1] % GROUP:
            return (matrix,)
        return self.kernels.pack(matrix.bfloat16(), bits)
