"""Expert deferral: the lightest experts of a token join one layer later.

The processor then has a whole layer's time for them instead of the time of the shared expert. The
numbers change: a layer sees a residual stream in which a little is missing, and gets it with its
own result. The last layer defers nothing, so all that was computed is in the logits.
(Chen et al. 2025, KTransformers, SOSP: "expert deferral".)
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from engine.experts.base import ExpertBackend, ExpertWeights, Ticket


@dataclass(frozen=True, slots=True)
class _Halves:
    """A layer's heavy experts, and the light ones of the layer before."""

    now: Ticket
    late: Ticket | None

    @property
    def done(self) -> bool:
        return self.now.done and (self.late is None or self.late.done)


class DeferringExperts:
    """Implements :class:`engine.experts.base.ExpertBackend` around another.

    ``deferred``: how many experts of each token join late; 0 changes nothing.
    """

    def __init__(self, experts: ExpertBackend, deferred: int) -> None:
        self.deferred = deferred
        self._experts = experts
        self._last = -1
        self._late: tuple[int, Ticket] | None = None
        """The layer whose light experts are under way, and their ticket."""

    @property
    def name(self) -> str:
        return f"{self._experts.name}, {self.deferred} deferred"

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        self._experts.add_layer(layer, experts)
        self._last = max(self._last, layer)

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        # Of another pass, which was aborted, nothing may leak into this one.
        before, self._late = self._late, None
        late = before[1] if before is not None and before[0] == layer - 1 else None
        heavy = ids.shape[1] - self.deferred
        if layer == self._last or self.deferred == 0 or heavy < 1:
            return _Halves(self._experts.submit(layer, x, ids, weights), late)
        order = weights.argsort(-1, descending=True)  # [T, K]
        ids, weights = ids.gather(-1, order), weights.gather(-1, order)
        now = self._experts.submit(
            layer, x, ids[:, :heavy].contiguous(), weights[:, :heavy].contiguous()
        )
        light = ids[:, heavy:].contiguous(), weights[:, heavy:].contiguous()
        self._late = layer, self._experts.submit(layer, x, *light)
        return _Halves(now, late)

    def wait(self, ticket: Ticket) -> Tensor:
        assert isinstance(ticket, _Halves)
        now = self._experts.wait(ticket.now)
        return now if ticket.late is None else now + self._experts.wait(ticket.late)

    def abort(self) -> None:
        self._experts.abort()

    def close(self) -> None:
        self._late = None
        self._experts.close()


@dataclass(frozen=True, slots=True)
class Drift:
    """How far logits moved: mean KL divergence in nats, and the share of equal first choices."""

    deferred: int
    divergence: float
    agreement: float


def drift(deferred: int, right: Tensor, moved: Tensor) -> Drift:
    """Compare logits [T, V] of the same tokens."""
    p, q = right.double().log_softmax(-1), moved.double().log_softmax(-1)  # [T, V]
    divergence = (p.exp() * (p - q)).sum(-1).mean()
    agreement = (p.argmax(-1) == q.argmax(-1)).double().mean()
    return Drift(deferred, float(divergence), float(agreement))
