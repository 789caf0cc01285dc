"""What a running model routed, kept compactly: the material on which cache policies are judged."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import CheckpointError

_FIELDS = {"step": np.int32, "layer": np.int16, "ids": np.int16}


@dataclass(frozen=True, slots=True)
class Call:
    """One layer's call of one step: the experts that any of its tokens chose, ascending."""

    step: int
    layer: int
    experts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RoutingTrace:
    """One row per token and layer, in order: step [N], layer [N], ids [N, K].

    A step is one pass through the layers; its rows of one layer are the tokens of its batch.
    """

    experts: int
    step: NDArray[np.int32]
    layer: NDArray[np.int16]
    ids: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.step)

    def calls(self) -> Iterator[Call]:
        """The rows gathered by step and layer."""
        if not len(self):
            return
        change = (np.diff(self.step) != 0) | (np.diff(self.layer) != 0)
        edges = [0, *(np.flatnonzero(change) + 1).tolist(), len(self)]
        for begin, end in itertools.pairwise(edges):
            chosen = np.unique(self.ids[begin:end])
            yield Call(int(self.step[begin]), int(self.layer[begin]), tuple(chosen.tolist()))

    def save(self, path: Path) -> None:
        """Write an ``.npz``."""
        np.savez_compressed(
            path, experts=np.int32(self.experts), step=self.step, layer=self.layer, ids=self.ids
        )

    @classmethod
    def load(cls, path: Path) -> RoutingTrace:
        """Read what `save` wrote. Raises CheckpointError ``trace_damaged``."""
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                experts = int(file["experts"])
                step, layer, ids = (file[name] for name in _FIELDS)
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise _damaged(path, str(error)) from error
        fields = zip((step, layer, ids), _FIELDS.values(), strict=True)
        if any(array.dtype != dtype for array, dtype in fields):
            raise _damaged(path, "its arrays have other types")
        if step.ndim != 1 or step.shape != layer.shape or ids.ndim != 2 or len(ids) != len(step):
            raise _damaged(path, "its arrays do not fit together")
        if ids.size and not (ids.min() >= 0 and ids.max() < experts <= 1 << 15):
            raise _damaged(path, "it names experts that do not exist")
        return cls(experts, step, layer, ids)


class TraceRecorder:
    """Keeps the newest `rows` rows: 2 x (3 + K) bytes each."""

    def __init__(self, experts: int, top_k: int, rows: int = 1 << 20) -> None:
        self.experts = experts
        self._rows = rows
        self._step = np.zeros(rows, np.int32)
        self._layer = np.zeros(rows, np.int16)
        self._ids = np.zeros((rows, top_k), np.int16)
        self._next = 0
        self._now = -1
        self._last_layer = 1 << 30

    def add(self, layer: int, ids: NDArray[np.int32]) -> None:
        """Append a layer's routing, ids [T, K]. A layer that is not deeper begins a step."""
        if layer <= self._last_layer:
            self._now += 1
        self._last_layer = layer
        kept = ids[-self._rows :]
        count, at = len(kept), self._next % self._rows
        self._next += count
        rows = (
            slice(at, at + count)
            if at + count <= self._rows
            else np.arange(at, at + count) % self._rows
        )
        self._step[rows], self._layer[rows], self._ids[rows] = self._now, layer, kept

    def trace(self) -> RoutingTrace:
        """A copy of what is kept, oldest first."""
        count = min(self._next, self._rows)
        at = np.arange(self._next - count, self._next) % self._rows
        return RoutingTrace(self.experts, self._step[at], self._layer[at], self._ids[at])


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        "trace_damaged", f"{path.name} is no routing trace: {why}", "record it again"
    )
