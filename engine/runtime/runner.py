"""A step's work to logits: one forward pass over everything that was scheduled."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Several
from typing import Protocol

from torch import Tensor

from engine.experts.observed import ObservedExperts
from engine.experts.stats import ExpertStats
from engine.model.deepseek import Batch, Model
from engine.scheduler.scheduler import Work


class StepRunner(Protocol):
    """What computes steps for an engine. Engine thread only, but for ``abort``."""

    @property
    def stats(self) -> ExpertStats | None:
        """Counters of the routed experts, if there are any experts."""

    def run(self, work: Several[Work], told: Callable[[float], None]) -> list[Tensor]:
        """Logits [rows, V] of each item: of its pending token and of each draft, if it samples.

        ``told`` may hear meanwhile which share of the step is done, 0 to 1.

        Raises Aborted when a prompt, or everything in the step, was stopped; no cache has changed
        then.
        """

    def abort(self) -> None:
        """Wake a step that waits for routed experts. Any thread."""

    def close(self) -> None:
        """Free the model."""


class Runner:
    """Runs batches on a model: implements :class:`StepRunner`."""

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def stats(self) -> ExpertStats | None:
        experts = self._model.experts
        return experts.stats if isinstance(experts, ObservedExperts) else None

    def run(self, work: Several[Work], told: Callable[[float], None]) -> list[Tensor]:
        prompts = [w.sequence for w in work if w.prompt]

        def should_abort() -> bool:
            return any(s.stopped for s in prompts) or all(w.sequence.stopped for w in work)

        rows = [w.rows for w in work]
        batch = Batch([(w.sequence.cache, w.computes) for w in work], rows)
        return list(self._model.forward(batch, should_abort, told).split(rows))  # [rows, V] by item

    def abort(self) -> None:
        self._model.experts.abort()

    def close(self) -> None:
        self._model.close()
