"""A long prompt of fillers with a few needles in it, and the question for each."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

KEY_TOKENS = 2
NEEDLE_TOKENS = 6


@dataclass(frozen=True, slots=True)
class Needle:
    """``key`` is followed by ``value`` at position `at`, and nowhere else."""

    at: int
    key: tuple[int, ...]
    value: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Haystack:
    """Token ids; no token of a needle is among the fillers or in another needle."""

    tokens: tuple[int, ...]
    needles: tuple[Needle, ...]


def haystack(length: int, depths: Sequence[float], vocab: int, seed: int = 0) -> Haystack:
    """`length` tokens of an induction model's vocabulary with a needle at each depth, 0 to 1.

    Only plain tokens are used: control tokens are the last 256 of such a vocabulary.
    """
    draw = random.Random(seed)
    size = NEEDLE_TOKENS
    plain = vocab - 256
    names = draw.sample(range(plain), size * len(depths))
    fillers = sorted(set(range(plain)) - set(names))
    tokens = draw.choices(fillers, k=length)
    needles = []
    for i, depth in enumerate(depths):
        ids = names[i * size : (i + 1) * size]
        at = round(depth * (length - size))
        tokens[at : at + size] = ids
        needles.append(Needle(at, tuple(ids[:KEY_TOKENS]), tuple(ids[KEY_TOKENS:])))
    return Haystack(tuple(tokens), tuple(needles))
