"""Sequences with the same beginning: one computes it, the others wait and take it over.

Of two, who has computed more goes ahead, the elder of equals. So what is waited for never goes
round in a circle, and whoever is ahead of all waits for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Several

from engine.cache.latent_pool import PAGE_TOKENS
from engine.scheduler.sequence import Sequence


def meet(new: Sequence, running: Iterable[Sequence]) -> None:
    """Note what a sequence shares with those that run, beyond what it found computed."""
    for other in running:
        shared = common_prefix(new.tokens, other.tokens) // PAGE_TOKENS * PAGE_TOKENS
        if shared > new.computed:
            new.kin[other] = other.kin[new] = shared


def ahead_of(sequence: Sequence) -> Sequence | None:
    """Who computes the tokens that this one needs next, if anybody does.

    Nobody waits for a sequence of less priority.
    """
    for other, shared in sequence.kin.items():
        ahead = (other.computed, -other.number) > (sequence.computed, -sequence.number)
        if ahead and other.rank <= sequence.rank and sequence.computed < shared:
            return other
    return None


def common_prefix(a: Several[int], b: Several[int]) -> int:
    """How many tokens two begin with alike. Compares slices, which C does, by halving."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
