"""How long a step takes, learnt from the steps before it.

A step is a sum of parts: one for being a step, one a token, one for every cached position that a
token reads, and one for every position whose keys and values a chunk of prompt unfolds. Few tokens
take another way through the model than many (see docs/architecture.md), so each has its own costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FEW = 64
"""Tokens up to which a step counts as one of few."""
_FORGET = 0.998
"""What parts cost beside each other is the model's and the machine's, so it is kept for long."""
_PRIOR = 3.0
"""Measured steps that the first guess weighs as much as."""
_TRUST = 4
_FOLLOW = 0.25
"""How quickly a change of the machine's pace is followed."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a step computes: ``tokens``, the positions that these read in all (``reach``), and the
    depth of each prompt chunk's end, added up (``spans``)."""

    tokens: int = 0
    reach: int = 0
    spans: int = 0

    def decoding(self, tokens: int, depth: int) -> Load:
        """With ``tokens`` more (one, and drafts) of a sequence of ``depth`` tokens."""
        reach = self.reach + tokens * depth
        return Load(self.tokens + tokens, reach, self.spans)

    def prefilling(self, tokens: int, depth: int) -> Load:
        """With a chunk of ``tokens`` after ``depth`` others."""
        reach = tokens * depth + tokens * (tokens + 1) // 2
        return Load(self.tokens + tokens, self.reach + reach, self.spans + depth + tokens)


class StepCost:
    """Seconds of a step by its load. Engine thread only.

    The machine's pace, by which all costs grow and shrink together, is what steps without prompts
    tell; what these were held up by would else look like a cost of some part.
    """

    def __init__(self) -> None:
        self._few = _Fit(3)
        self._many = _Fit(4)
        self._pace = 1.0

    @property
    def known(self) -> bool:
        """Whether any step has been measured."""
        return bool(self._few.count or self._many.count)

    def note(self, load: Load, seconds: float) -> None:
        """A step was measured."""
        if not load.tokens or seconds <= 0 or not math.isfinite(seconds):
            return
        fit, other = self._fits(load)
        parts = _parts(load)
        if not fit.count:
            fit.begin(parts, seconds / self._pace, other)
        elif load.tokens <= FEW and not load.spans and fit.count > _TRUST:
            ratio = seconds / max(self.seconds(load), 1e-9)
            self._pace *= min(max(ratio, 0.5), 2.0) ** _FOLLOW
        fit.note(parts, seconds / self._pace)

    def seconds(self, load: Load) -> float:
        """What is expected; 0 before anything is known."""
        fit, other = self._fits(load)
        return self._pace * (fit if fit.count else other).seconds(_parts(load))

    def most(self, load: Load, depth: int, bound: float, limit: int) -> int:
        """The largest chunk up to ``limit``, after ``depth`` tokens, that may join ``load`` so that
        the step takes at most ``bound`` seconds; 0 if not even one token may."""
        few = min(max(FEW - load.tokens, 0), limit)
        for least, largest in ((few + 1, limit), (1, few)):
            found = self._largest(load, depth, bound, least, largest)
            if found:
                return found
        return 0

    def prefill(self, begin: int, end: int, chunk: int) -> float:
        """Seconds for a prompt's tokens ``begin`` to ``end`` in chunks, with nothing beside."""
        tokens = end - begin
        if tokens <= 0:
            return 0.0
        chunks = -(-tokens // chunk)
        reach = tokens * (begin + end + 1) // 2
        mean_end = begin + min(chunk, tokens) / 2 + tokens / 2
        fit = self._many if self._many.count else self._few
        parts = float(chunks), float(tokens), float(reach), chunks * mean_end
        return self._pace * fit.seconds(parts)

    def _fits(self, load: Load) -> tuple[_Fit, _Fit]:
        """Of its own kind, and of the other."""
        return (self._few, self._many) if load.tokens <= FEW else (self._many, self._few)

    def _largest(self, load: Load, depth: int, bound: float, least: int, largest: int) -> int:
        """By bisection: within one way through the model more tokens never take less."""
        if least > largest or self.seconds(load.prefilling(least, depth)) > bound:
            return 0
        while least < largest:
            middle = (least + largest + 1) // 2
            if self.seconds(load.prefilling(middle, depth)) <= bound:
                least = middle
            else:
                largest = middle - 1
        return least


_Parts = tuple[float, float, float, float]


def _parts(load: Load) -> _Parts:
    return 1.0, float(load.tokens), float(load.reach), float(load.spans)


class _Fit:
    """Least squares of relative errors with forgetting; no cost is negative.

    Where the steps do not tell two parts apart, the first guess does. A step that something held up
    counts for little, because errors are taken relative to what was measured.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0
        self._costs = [0.0] * size
        self._guess = [0.0] * size
        self._weight = 0.0
        self._squares = [[0.0] * size for _ in range(size)]
        self._moments = [0.0] * size
        self._stale = False

    def begin(self, parts: _Parts, seconds: float, other: _Fit) -> None:
        """A first guess: positions cost what they cost the other kind, the rest is the tokens'.

        Of few tokens, being a step takes as much as they do.
        """
        reach = min(other._costs[2], seconds / 2 / max(parts[2], 1.0))
        rest = seconds - reach * parts[2]
        fixed = rest / 2 if self.size == 3 else 0.0
        guess = fixed, (rest - fixed) / parts[1], reach, 0.0
        self._guess = list(guess[: self.size])
        self._costs = list(self._guess)

    def note(self, parts: _Parts, seconds: float) -> None:
        self.count += 1
        self._stale = True
        self._weight = self._weight * _FORGET + 1
        x = [part / seconds for part in parts]
        for i in range(self.size):
            row = self._squares[i]
            for j in range(self.size):
                row[j] = row[j] * _FORGET + x[i] * x[j]
            self._moments[i] = self._moments[i] * _FORGET + x[i]

    def seconds(self, parts: _Parts) -> float:
        if self._stale:
            self._solve()
        return sum(c * p for c, p in zip(self._costs, parts, strict=False))

    def _solve(self) -> None:
        """Whichever cost comes out below 0 is 0, and the others are found again."""
        self._stale = False
        free = [i for i in range(self.size) if self._squares[i][i] > 0]
        costs = [0.0] * self.size
        while free:
            anchors = [_PRIOR / self._weight * self._squares[i][i] for i in free]
            table = [
                [self._squares[i][j] + (anchor if i == j else 0.0) for j in free]
                + [self._moments[i] + anchor * self._guess[i]]
                for i, anchor in zip(free, anchors, strict=True)
            ]
            found = _solved(table)
            worst = min(range(len(free)), key=found.__getitem__)
            if found[worst] >= 0:
                for i, cost in zip(free, found, strict=True):
                    costs[i] = cost
                break
            del free[worst]
        self._costs = costs


def _solved(table: list[list[float]]) -> list[float]:
    """Gauss-Jordan on the rows of a positive definite matrix, each with its right side."""
    for i, row in enumerate(table):
        row[:] = [value / row[i] for value in row]
        for other in table:
            if other is not row and other[i]:
                factor = other[i]
                other[:] = [a - factor * b for a, b in zip(other, row, strict=True)]
    return [row[-1] for row in table]
