"""The seam between the model and whoever computes routed experts.

``submit`` hands over a layer's routed tokens and returns at once; the caller does other work
(shared expert, attention on another device) and then ``wait``s.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PackedMatrix:
    """INT4 in the checkpoint's own bytes: views into the mapped file, never copied.

    ``packed`` uint8 [out, in/2], low nibble = even column, value = nibble - 8;
    ``scale`` bf16 [out, in/32], one per 32 columns.
    """

    packed: Tensor
    scale: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the matrix that this stands for."""
        return self.packed.shape[0], self.packed.shape[1] * 2


@dataclass(frozen=True, slots=True)
class Fp8Matrix:
    """FP8 e4m3 in blocks, in the checkpoint's own bytes: views, never copied.

    ``weight`` uint8 [out, in], each an e4m3 code; ``scale`` float32, one per block of 128 x 128,
    the last of a row or column may overhang.
    """

    weight: Tensor
    scale: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.weight.shape[0], self.weight.shape[1]


ExpertMatrix = PackedMatrix | Fp8Matrix | Tensor
"""INT4, FP8, or a plain bf16 / float32 matrix [out, in]."""


@dataclass(frozen=True, slots=True)
class ExpertWeights:
    """One SwiGLU expert: gate and up [I, H], down [H, I]."""

    gate: ExpertMatrix
    up: ExpertMatrix
    down: ExpertMatrix

    @property
    def packed(self) -> bool:
        """Whether all three are INT4."""
        return all(isinstance(m, PackedMatrix) for m in (self.gate, self.up, self.down))


def tensors_of(expert: ExpertWeights) -> list[Tensor]:
    """Every tensor that an expert consists of, in a fixed order."""
    found: list[Tensor] = []
    for matrix in (expert.gate, expert.up, expert.down):
        found += [matrix] if isinstance(matrix, Tensor) else _parts(matrix)
    return found


def with_tensors(expert: ExpertWeights, tensors: list[Tensor]) -> ExpertWeights:
    """The same expert over other memory; `tensors` in the order of :func:`tensors_of`."""
    rest = iter(tensors)
    matrices = [
        next(rest) if isinstance(m, Tensor) else type(m)(*(next(rest) for _ in _parts(m)))
        for m in (expert.gate, expert.up, expert.down)
    ]
    return ExpertWeights(*matrices)


def _parts(matrix: PackedMatrix | Fp8Matrix) -> list[Tensor]:
    return [getattr(matrix, field.name) for field in fields(matrix)]


class Ticket(Protocol):
    """A submitted piece of work."""

    @property
    def done(self) -> bool:
        """Whether `wait` would return at once."""


class ExpertBackend(Protocol):
    """Computes ``sum_k weights[t,k] * expert[ids[t,k]](x[t])`` for the layers added to it."""

    @property
    def name(self) -> str:
        """For status and traces, e.g. ``native avx2``."""

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        """Make a layer known. Keeps the tensors alive. Raises CheckpointError on wrong shapes."""

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        """Start. x [T,H] float32 or bf16, ids [T,K] int32, weights [T,K] float32; contiguous."""

    def wait(self, ticket: Ticket) -> Tensor:
        """The float32 result [T,H]. Sleeps until it is there. Raises Aborted."""

    def abort(self) -> None:
        """Make every ticket in flight end soon with Aborted. Any thread."""

    def close(self) -> None:
        """Stop the workers; no call is valid afterwards."""


@runtime_checkable
class MovableExperts(ExpertBackend, Protocol):
    """A backend whose experts may lie elsewhere from some moment on."""

    def move_expert(self, layer: int, which: int, expert: ExpertWeights) -> None:
        """Compute from these tensors, of the same forms and values, and keep them alive.

        No call that uses this expert may be under way. Raises CheckpointError on other shapes.
        """


def check_submission(x: Tensor, ids: Tensor, weights: Tensor) -> None:
    """Assert the contract of :meth:`ExpertBackend.submit`."""
    assert x.dim() == 2 and x.dtype in (torch.float32, torch.bfloat16)
    assert ids.dtype == torch.int32 and weights.dtype == torch.float32
    assert ids.shape == weights.shape and ids.shape[0] == x.shape[0]
