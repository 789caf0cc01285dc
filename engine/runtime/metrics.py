"""What was done since the load, and how fast: for the status and ``/metrics``."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Sequence

from engine.errors import Aborted
from engine.protocol import STEP_SECONDS, Counters, Outcome
from engine.scheduler.scheduler import Work
from engine.types import Broke, Ended

_KEEP = 0.9


class Meter:
    """Counts, and tokens per second of prefill and of decode. The engine thread writes."""

    def __init__(self) -> None:
        self.prefill_tokens_per_s = 0.0
        """Smoothed exponentially, so that it neither jumps nor lags; so is the next."""
        self.decode_tokens_per_s = 0.0
        self._requests: Counter[Outcome] = Counter()
        self._tokens: Counter[str] = Counter()
        self._seconds = 0.0
        self._steps = [0] * (len(STEP_SECONDS) + 1)

    def count(self, work: Sequence[Work], written: int, seconds: float) -> None:
        """Note a step that wrote ``written`` tokens.

        As a speed a mixed step counts as prefill, whose tokens outweigh.
        """
        tokens = sum(len(w.computes) for w in work)
        self._tokens["computed"] += tokens
        self._tokens["written"] += written
        self._seconds += seconds
        self._steps[bisect.bisect_left(STEP_SECONDS, seconds)] += 1
        seconds = max(seconds, 1e-9)
        if any(w.prompt for w in work):
            self.prefill_tokens_per_s = _smooth(self.prefill_tokens_per_s, tokens / seconds)
        else:
            self.decode_tokens_per_s = _smooth(self.decode_tokens_per_s, written / seconds)

    def ended(self, last: Ended | Broke) -> None:
        """Note how a request ended."""
        if isinstance(last, Broke):
            self._requests["aborted" if isinstance(last.error, Aborted) else "failed"] += 1
            return
        self._requests["done"] += 1
        usage = last.usage
        self._tokens["prompt"] += usage.prompt_tokens
        self._tokens["cached"] += usage.prompt_tokens_details.cached_tokens
        drafts = usage.completion_tokens_details
        self._tokens["accepted"] += drafts.accepted_prediction_tokens
        self._tokens["rejected"] += drafts.rejected_prediction_tokens

    def counters(self, preemptions: int) -> Counters:
        """All of it. Any thread."""
        tokens = self._tokens
        return Counters(
            done=self._requests["done"],
            aborted=self._requests["aborted"],
            failed=self._requests["failed"],
            preemptions=preemptions,
            prompt_tokens=tokens["prompt"],
            cached_tokens=tokens["cached"],
            computed_tokens=tokens["computed"],
            written_tokens=tokens["written"],
            accepted_drafts=tokens["accepted"],
            rejected_drafts=tokens["rejected"],
            step_seconds=self._seconds,
            steps=tuple(self._steps),
        )


def _smooth(old: float, new: float) -> float:
    return new if old == 0 else _KEEP * old + (1 - _KEEP) * new
