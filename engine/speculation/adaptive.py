"""How many tokens to draft: as many as make a token cheaper, by what was measured here.

A step with drafts costs more. On a processor each further token reads experts of its own, so the
cost of a step is measured by the number of its tokens, and the chance of a draft by the length of
the match that it comes from.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections import deque
from dataclasses import dataclass

LONGEST = 32
"""Matches are not measured beyond."""
MARGIN = 1.05
"""Gain from which drafts are made; what is measured is never exact."""
_PRIORS = (0.3, 0.5, 0.7, 0.8, 0.9)
"""Chance of the next token after matches of 2, 4, 8, 16, 32 tokens before anything is known."""
_WEIGHT = 2.0
"""How many observations a prior counts for."""
_FADE = 0.97
_KEPT = 5
_FEW = 32
"""Steps of more tokens carry a piece of a prompt and say nothing about drafts."""
_HOPE = 0.25
"""Cost of a further token, in steps of one, where none is known; hope makes it measured."""
_QUICKER = 0.8
_FIRST_TRUST, _LAST_TRUST = 128, 4096
_STALE = 256


class Acceptance:
    """Chance that a match goes on, by its length; the last few dozen outcomes count."""

    def __init__(self) -> None:
        self._right = [p * _WEIGHT for p in _PRIORS]
        self._seen = [_WEIGHT] * len(_PRIORS)

    def note(self, length: int, right: bool) -> None:
        """The token after a match of `length` was, or was not, the one that followed there."""
        i = _kind(length)
        self._right[i] = self._right[i] * _FADE + right
        self._seen[i] = self._seen[i] * _FADE + 1

    def chance(self, length: int) -> float:
        """Of the token after a match of `length`."""
        i = _kind(length)
        return self._right[i] / self._seen[i]


def _kind(length: int) -> int:
    return min(max(length, 2), LONGEST).bit_length() - 2


@dataclass(slots=True)
class _Measured:
    """Steps of one size."""

    last: deque[float]
    typical: float
    at: int
    """The number of the step measured last."""
    trust: int = _FIRST_TRUST
    """Steps for which it is believed."""

    def rare(self, step: int) -> bool:
        """Whether the last ones were not measured just now."""
        return step - self.at > _KEPT


class StepCosts:
    """Seconds of a decode step by its number of tokens. Shared by the sequences of an engine.

    The median of the last few, so that a step which something else held up counts for little; a
    rare one that is much quicker than thought replaces them. Sizes between known ones are
    interpolated, larger ones extrapolated. What is not measured again is forgotten, so that a size
    once too dear gets another chance: first soon, then after twice as long each time.
    """

    def __init__(self) -> None:
        self._sizes: dict[int, _Measured] = {}
        self._steps = 0
        self._latest = 0, 0.0
        self._known: list[tuple[int, float]] = []

    def note(self, tokens: int, seconds: float) -> None:
        """A step of `tokens` tokens took `seconds`; long ones are passed over.

        Each of its sequences may report it: what takes exactly as long is the same step.
        """
        if tokens > _FEW or (tokens, seconds) == self._latest:
            return
        self._latest = tokens, seconds
        self._steps += 1
        self._known = []
        size = self._sizes.get(tokens)
        if size is None or (size.rare(self._steps) and seconds < _QUICKER * size.typical):
            self._sizes[tokens] = _Measured(deque([seconds], _KEPT), seconds, self._steps)
            return
        size.last.append(seconds)
        size.typical = sorted(size.last)[len(size.last) // 2]
        size.at, size.trust = self._steps, min(2 * size.trust, _LAST_TRUST)

    def fresh(self, tokens: int) -> bool:
        """Whether a step of at most so many was measured not long ago."""
        return any(n <= tokens and self._steps - s.at < _STALE for n, s in self._sizes.items())

    def seconds(self, tokens: int) -> float:
        """Of a step of so many tokens, of which some number must be known."""
        known = self._known or self._believed()
        i = bisect(known, (tokens, math.inf))
        if i == 0:
            return known[0][1]
        below, typical = known[i - 1]
        if i < len(known):
            above, more = known[i]
            each = (more - typical) / (above - below)
        elif i > 1:
            each = max(typical - known[0][1], 0.0) / (below - known[0][0])
        else:
            each = _HOPE * typical
        return typical + each * (tokens - below)

    def _believed(self) -> list[tuple[int, float]]:
        steps = self._steps
        sizes = self._sizes.items()
        self._known = sorted((n, s.typical) for n, s in sizes if steps - s.at < s.trust)
        return self._known


def drafts_that_pay(
    acceptance: Acceptance,
    costs: StepCosts,
    matched: int,
    most: int,
    base: int,
    making: float = 0.0,
) -> int:
    """Tokens to draft after a match of `matched`, 0 to `most`, in a step of `base` without them.

    `making`: seconds that a draft takes beside the step. The number with the most tokens a second
    that can be expected of the step as a whole; 0 where that is less than MARGIN times what it does
    without.
    """
    if most < 1 or not costs.fresh(base):
        return 0  # a plain step measures what drafts are compared with
    chance, expected = 1.0, float(base)
    plain = costs.seconds(base) / base
    best, gain = 0, MARGIN
    for count in range(1, most + 1):
        chance *= acceptance.chance(matched + count - 1)
        expected += chance
        taken = costs.seconds(base + count) + making * count
        reached = plain * expected / max(taken, 1e-9)
        if reached > gain:
            best, gain = count, reached
    return best
