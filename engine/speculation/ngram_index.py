"""Where the last few tokens of a growing sequence stood before.

For each of three lengths n a hash table holds where an n-gram was last followed by something. A
slot keeps the latest of the n-grams that share it, so a table never has chains and the memory is
at most 16 bytes a token and length; what a slot says is compared with the tokens themselves.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

SIZES: Final = (2, 4, 8)
LONGEST: Final = 32
"""Matches are not measured beyond."""

_MIX = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1
_FIRST_BITS = 10
_BULK = 64
"""New tokens from which numpy is quicker than a loop."""


@dataclass(frozen=True, slots=True)
class Match:
    """The tokens before `at` equal the last ones of the sequence, `length` of them."""

    at: int
    length: int


class NgramIndex:
    """Over one sequence that only grows; a token costs O(1), amortised. One thread at a time."""

    def __init__(self) -> None:
        self._bits = _FIRST_BITS
        self._tables = self._empty()
        self._length = 0
        self._slots: tuple[int, ...] = ()
        """Of the n-grams that end the sequence: what follows them is not known yet."""

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return sum(table.itemsize * len(table) for table in self._tables)

    def extend(self, tokens: Sequence[int]) -> None:
        """Take in what `tokens` has more than at the last call."""
        begin, end = self._length, len(tokens)
        if end > 1 << (self._bits - 1):
            self._bits = (2 * end - 1).bit_length()
            self._tables = self._empty()
            begin = 0
        if end - begin > _BULK:
            self._index(np.array(tokens[max(begin - SIZES[-1], 0) :], np.uint64), end)
            self._slots = self._slots_of(tokens, end)
        else:
            for at in range(begin, end):
                for table, slot in zip(self._tables, self._slots, strict=False):
                    table[slot] = at
                self._slots = self._slots_of(tokens, at + 1)
        self._length = end

    def find(self, tokens: Sequence[int]) -> Match | None:
        """The latest place where the longest n-gram stood that ends `tokens`, all taken in."""
        ends = list(zip(SIZES, self._tables, self._slots, strict=False))
        for size, table, slot in reversed(ends):
            length = matched(tokens, table[slot])
            if length >= size:
                return Match(table[slot], length)
        return None

    def _slots_of(self, tokens: Sequence[int], end: int) -> tuple[int, ...]:
        """Of the n-grams that end before `end`, the short ones first; as many as there are."""
        mixed, slots, shift = 0, [], 64 - self._bits
        for n, token in enumerate(reversed(tokens[max(end - SIZES[-1], 0) : end]), 1):
            mixed = (mixed + token + 1) * _MIX & _WORD
            if n in SIZES:
                slots.append(((mixed ^ mixed >> 32) * _MIX & _WORD) >> shift)
        return tuple(slots)

    def _index(self, tail: NDArray[np.uint64], end: int) -> None:
        """The same for all n-grams of `tail`, which ends at `end`, that something follows."""
        count, one = len(tail), np.uint64(1)
        mix, shift = np.uint64(_MIX), np.uint64(64 - self._bits)
        mixed = np.zeros(count + 1, np.uint64)
        for n in range(1, min(SIZES[-1], count - 1) + 1):
            mixed = (mixed[1:] + tail[: count - n + 1] + one) * mix  # [i]: of tail[i : i + n]
            if n in SIZES:
                slots = (mixed ^ mixed >> np.uint64(32)) * mix >> shift
                table = np.frombuffer(self._tables[SIZES.index(n)], np.int32)
                # Of equal slots the last one is kept.
                table[slots[:-1]] = np.arange(end - count + n, end, dtype=np.int32)

    def _empty(self) -> list[array[int]]:
        zeros = bytes(4 << self._bits)
        return [array("i", zeros) for _ in SIZES]


def matched(tokens: Sequence[int], at: int) -> int:
    """How many tokens before `at` equal the last ones, at most LONGEST."""
    end, length = len(tokens), 0
    while length < min(at, LONGEST) and tokens[at - 1 - length] == tokens[end - 1 - length]:
        length += 1
    return length
