"""Experts that are watched: every routing that is waited for is counted, and
recorded if asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.experts.base import ExpertBackend, ExpertWeights, Ticket
from engine.experts.stats import ExpertStats
from engine.experts.trace import TraceRecorder


@dataclass(frozen=True, slots=True)
class _Watched:
    """A ticket and the routing that it is for."""

    layer: int
    ids: Tensor
    inner: Ticket

    @property
    def done(self) -> bool:
        return self.inner.done


class ObservedExperts:
    """Implements :class:`engine.experts.base.ExpertBackend`; numbers pass through unchanged."""

    def __init__(
        self,
        experts: ExpertBackend,
        stats: ExpertStats,
        recorder: TraceRecorder | None = None,
        stream_from: int = 0,
    ) -> None:
        self.stream_from = stream_from
        """Tokens of a call from which weights stream to a device; 0: they never do."""
        self.stats = stats
        self.recorder = recorder
        self._experts = experts

    @property
    def name(self) -> str:
        return self._experts.name

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        self._experts.add_layer(layer, experts)

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        return _Watched(layer, ids, self._experts.submit(layer, x, ids, weights))

    def wait(self, ticket: Ticket) -> Tensor:
        assert isinstance(ticket, _Watched)
        # Here the workers compute, and on a device everything else of the layer has been queued.
        self.note(ticket.layer, ticket.ids.cpu().numpy())
        return self._experts.wait(ticket.inner)

    def note(self, layer: int, chosen: NDArray[np.int32]) -> None:
        """Count a layer's routing [T, K] that did not come through `submit`."""
        self.stats.count(layer, chosen)
        if self.recorder is not None:
            self.recorder.add(layer, chosen)

    def note_all(self, chosen: NDArray[np.int32]) -> None:
        """The same for all layers at once, ids [L, T, K]."""
        self.stats.count_all(chosen)
        if self.recorder is not None:
            for layer, ids in zip(self.stats.layers, chosen, strict=True):
                self.recorder.add(layer, ids)

    def abort(self) -> None:
        self._experts.abort()

    def close(self) -> None:
        self._experts.close()
