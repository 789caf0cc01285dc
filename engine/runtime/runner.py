"""A step's work to logits: one forward pass over everything that was scheduled."""

from __future__ import annotations

from collections.abc import Sequence as Several

from torch import Tensor

from engine.model.deepseek import Batch, Model
from engine.scheduler.scheduler import Work
from engine.scheduler.sequence import Sequence


class Runner:
    """Runs batches on a model. Engine thread only."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def run(self, work: Several[Work]) -> list[tuple[Sequence, Tensor]]:
        """Logits [V] of each sequence whose prompt is now complete.

        Raises Aborted when a prompt, or everything in the step, was stopped; no cache has changed
        then.
        """
        prompts = [w.sequence for w in work if len(w.tokens) > 1]

        def should_abort() -> bool:
            return any(s.aborted for s in prompts) or all(w.sequence.aborted for w in work)

        batch = Batch([(w.sequence.cache, w.tokens) for w in work])
        logits = self.model.forward(batch, should_abort)  # [S, V]
        return [(w.sequence, row) for w, row in zip(work, logits, strict=True) if w.samples]
