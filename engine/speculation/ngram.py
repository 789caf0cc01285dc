"""Drafts copied from where the last tokens stood before ("prompt lookup").

Agents repeat long arguments, paths and results word for word, so what followed last time often
follows again. The idea: Saxena 2023, "Prompt Lookup Decoding"; Yang et al. 2023 (LLMA,
arXiv:2304.04487).
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.speculation.adaptive import Acceptance, StepCosts, drafts_that_pay
from engine.speculation.base import Drafter, NewDrafter
from engine.speculation.ngram_index import LONGEST, Match, NgramIndex


class NgramDrafter(Drafter):
    """For one sequence. Free text costs it a look into three tables a token.

    It remembers what it would have drafted, and so knows how often it is right also while it
    drafts nothing.
    """

    def __init__(self, costs: StepCosts) -> None:
        self._index = NgramIndex()
        self._costs = costs
        self._acceptance = Acceptance()
        self._match: Match | None = None
        self._length = 0
        """Of the sequence at the last look."""

    def draft(self, tokens: Sequence[int], most: int, beside: int = 0) -> list[int]:
        """At most `most` tokens, none where they would not pay."""
        if len(tokens) != self._length:
            self._look(tokens)
        match = self._match
        if match is None:
            return []
        count = drafts_that_pay(self._acceptance, self._costs, match.length, most, beside + 1)
        drafts = list(tokens[match.at : match.at + count])
        while len(drafts) < count:  # the copy has reached its own beginning
            drafts.append(drafts[len(drafts) - (self._length - match.at)])
        return drafts

    def observe(self, drafted: int, accepted: int, tokens: int, seconds: float) -> None:
        """A step is done; what was accepted shows in the tokens of the next call."""
        self._costs.note(tokens, seconds)

    def _look(self, tokens: Sequence[int]) -> None:
        """Judge the last match by what came since, and find the next."""
        follows = self._follow(tokens)
        self._index.extend(tokens)
        self._length = len(tokens)
        if follows is None or follows.length < LONGEST:
            found = self._index.find(tokens)
            # A longer match may be older: the list being copied, not the entry just written.
            if follows is None or (found is not None and found.length >= follows.length):
                follows = found
        self._match = follows

    def _follow(self, tokens: Sequence[int]) -> Match | None:
        """The last match, if all that came since is what followed there."""
        match = self._match
        if match is None:
            return None
        for i in range(self._length, len(tokens)):
            right = tokens[match.at] == tokens[i]
            self._acceptance.note(match.length, right)
            if not right:
                return None
            match = Match(match.at + 1, min(match.length + 1, LONGEST))
        return match


def ngram_drafters() -> NewDrafter:
    """Makes the drafters of one engine's sequences, which share what a step costs."""
    costs = StepCosts()
    return lambda: NgramDrafter(costs)
