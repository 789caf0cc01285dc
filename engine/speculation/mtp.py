"""Drafts of the checkpoint's own prediction layer, where nothing earlier can be copied."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from engine.cache.latent_pool import PagedCache
from engine.speculation.adaptive import Acceptance, StepCosts, drafts_that_pay
from engine.speculation.base import Drafter, NewDrafter
from engine.speculation.ngram import NgramDrafter

MOST = 2
"""The layer was trained for one token ahead; the second is a guess upon a guess."""
_FIRST, _LATER = 8, 4
"""The lengths of match under which chances are kept."""
_PATIENCE = (64, 4096)
_KEPT = 5


class Predicts(Protocol):
    """What the model offers."""

    def draft(self, cache: PagedCache, token: int, most: int) -> list[int]:
        """The likeliest tokens after `token`, which follows what is cached."""


class Foresight:
    """A layer, and what was seen of it: how often it is right and how long it takes. Shared by the
    sequences of an engine, so that a new one need not find out again."""

    def __init__(self, predictor: Predicts, clock: Callable[[], float] = time.perf_counter) -> None:
        self.chances = _Chances()
        self._predictor = predictor
        self._clock = clock
        self._took: deque[float] = deque(maxlen=_KEPT)

    @property
    def seconds(self) -> float:
        """Of one token's draft: the median of the last few; 0 before the first."""
        return sorted(self._took)[len(self._took) // 2] if self._took else 0.0

    def draft(self, cache: PagedCache, token: int, most: int) -> list[int]:
        """The likeliest tokens after `token`, which follows what is cached."""
        began = self._clock()
        drafts = self._predictor.draft(cache, token, most)
        if drafts:
            self._took.append((self._clock() - began) / len(drafts))
        return drafts


class MtpDrafter(Drafter):
    """For one sequence: copies first, else asks the layer, as long as that pays.

    What was once not worth its cost is tried again after 64 tokens, then after twice as many.
    """

    def __init__(self, costs: StepCosts, foresight: Foresight) -> None:
        self._copies = NgramDrafter(costs)
        self._foresight = foresight
        self._costs = costs
        self._drafts: list[int] = []
        self._length = 0
        """Of the sequence when they were made."""
        self._declined = 0
        self._patience = _PATIENCE[0]

    def draft(
        self,
        tokens: Sequence[int],
        most: int,
        beside: int = 0,
        cache: PagedCache | None = None,
    ) -> list[int]:
        """At most `most` tokens, none where they would not pay."""
        copied = self._copies.draft(tokens, most, beside)
        if len(tokens) == self._length:
            return copied or self._drafts[:most]
        self._judge(tokens)
        self._length, self._drafts = len(tokens), []
        if copied or cache is None or cache.length != len(tokens) - 1:
            return copied
        known, most = self._foresight, min(most, MOST)
        count = drafts_that_pay(known.chances, self._costs, 0, most, beside + 1, known.seconds)
        if count == 0 and most > 0:
            self._declined += 1
            if self._declined < self._patience:
                return []
            self._declined, self._patience = 0, min(2 * self._patience, _PATIENCE[1])
            count = 1
        if count:
            self._drafts = known.draft(cache, tokens[-1], count)
        return self._drafts

    def observe(self, drafted: int, accepted: int, tokens: int, seconds: float) -> None:
        """A step is done; what was accepted shows in the tokens of the next call."""
        self._copies.observe(drafted, accepted, tokens, seconds)

    def _judge(self, tokens: Sequence[int]) -> None:
        came = tokens[self._length : self._length + len(self._drafts)]
        for i, (draft, token) in enumerate(zip(self._drafts, came, strict=False)):
            self._foresight.chances.note(i, draft == token)
            if draft != token:
                return


class _Chances(Acceptance):
    """By the number of drafts before."""

    def note(self, length: int, right: bool) -> None:
        super().note(_LATER if length else _FIRST, right)

    def chance(self, length: int) -> float:
        return super().chance(_LATER if length else _FIRST)


def new_drafters(predictor: Predicts | None = None) -> NewDrafter:
    """Makes the drafters of one engine's sequences, which share what a step costs."""
    costs = StepCosts()
    if predictor is None:
        return lambda: NgramDrafter(costs)
    foresight = Foresight(predictor)
    return lambda: MtpDrafter(costs, foresight)
