"""A step's work to logits: one forward pass over everything that was scheduled."""

from __future__ import annotations

from collections.abc import Sequence as Several

from torch import Tensor

from engine.model.deepseek import Batch, Model
from engine.scheduler.scheduler import Work


class Runner:
    """Runs batches on a model. Engine thread only."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def run(self, work: Several[Work]) -> list[Tensor]:
        """Logits [rows, V] of each item: of its pending token and of each draft, if it samples.

        Raises Aborted when a prompt, or everything in the step, was stopped; no cache has changed
        then.
        """
        prompts = [w.sequence for w in work if len(w.tokens) > 1]

        def should_abort() -> bool:
            return any(s.aborted for s in prompts) or all(w.sequence.aborted for w in work)

        rows = [w.rows for w in work]
        batch = Batch([(w.sequence.cache, w.computes) for w in work], rows)
        return list(self.model.forward(batch, should_abort).split(rows))  # [rows, V] by item
