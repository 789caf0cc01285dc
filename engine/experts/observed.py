"""Experts that are watched: every routing is counted, and recorded if asked."""

from __future__ import annotations

from torch import Tensor

from engine.experts.base import ExpertBackend, ExpertWeights, Ticket
from engine.experts.stats import ExpertStats
from engine.experts.trace import TraceRecorder


class ObservedExperts:
    """Implements :class:`engine.experts.base.ExpertBackend`; numbers pass through unchanged."""

    def __init__(
        self, experts: ExpertBackend, stats: ExpertStats, recorder: TraceRecorder | None = None
    ) -> None:
        self.stats = stats
        self.recorder = recorder
        self._experts = experts

    @property
    def name(self) -> str:
        return self._experts.name

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        self._experts.add_layer(layer, experts)

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        ticket = self._experts.submit(layer, x, ids, weights)
        # After the hand-over: the workers compute while this is counted.
        chosen = ids.cpu().numpy()
        self.stats.count(layer, chosen)
        if self.recorder is not None:
            self.recorder.add(layer, chosen)
        return ticket

    def wait(self, ticket: Ticket) -> Tensor:
        return self._experts.wait(ticket)

    def abort(self) -> None:
        self._experts.abort()

    def close(self) -> None:
        self._experts.close()
