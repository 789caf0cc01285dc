"""Drafts copied from where the last tokens stood before ("prompt lookup").

Agents repeat long arguments, paths and results word for word, so what followed last time often
follows again. The idea: Saxena 2023, "Prompt Lookup Decoding"; Yang et al. 2023 (LLMA,
arXiv:2304.04487).
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.cache.latent_pool import PagedCache
from engine.native import _kernels
from engine.speculation.adaptive import Acceptance, StepCosts, drafts_that_pay
from engine.speculation.base import Drafter


class NgramDrafter(Drafter):
    """For one sequence. Free text costs it a look into three tables a token.

    It remembers what it would have drafted, and so knows how often it is right also while it
    drafts nothing.
    """

    def __init__(self, costs: StepCosts) -> None:
        self._index = _kernels.NgramIndex()
        self._costs = costs
        self._acceptance = Acceptance()
        self._at = self._matched = 0
        """The tokens before `at` equal the last ones, so many of them."""
        self._length = 0
        """Of the sequence at the last look."""

    def draft(
        self,
        tokens: Sequence[int],
        most: int,
        beside: int = 0,
        cache: PagedCache | None = None,
    ) -> list[int]:
        """At most `most` tokens, none where they would not pay."""
        if len(tokens) != self._length:
            self._look(tokens)
        if not self._matched:
            return []
        count = drafts_that_pay(self._acceptance, self._costs, self._matched, most, beside + 1)
        drafts = list(tokens[self._at : self._at + count])
        while len(drafts) < count:  # the copy has reached its own beginning
            drafts.append(drafts[len(drafts) - (self._length - self._at)])
        return drafts

    def observe(self, drafted: int, accepted: int, tokens: int, seconds: float) -> None:
        """A step is done; what was accepted shows in the tokens of the next call."""
        self._costs.note(tokens, seconds)

    def _look(self, tokens: Sequence[int]) -> None:
        """Judge the last match by what came since, and find the next."""
        before = self._matched
        self._at, self._matched, right, wrong = self._index.look(tokens[self._length :])
        for i in range(right):
            self._acceptance.note(before + i, True)
        if wrong:
            self._acceptance.note(before + right, False)
        self._length = len(tokens)
