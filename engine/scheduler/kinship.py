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
    """Note what a sequence has in common with those that run and one of the two has to compute.

    The last token of either is not part of it: what follows it has to be computed by each.
    """
    for other in running:
        most = min(len(new.tokens), len(other.tokens)) - 1
        shared = min(common_prefix(new.tokens, other.tokens), most)
        if shared > min(new.computed, other.computed):
            new.kin[other] = other.kin[new] = shared


def part(a: Sequence, b: Sequence) -> None:
    """Neither has anything more to expect of the other."""
    del a.kin[b], b.kin[a]


def giver(sequence: Sequence) -> Sequence | None:
    """Who has computed all that this one has in common with it and lacks, if anybody has."""
    for other, shared in sequence.kin.items():
        if sequence.computed < shared <= other.computed:
            return other
    return None


def ahead_of(sequence: Sequence) -> Sequence | None:
    """Who computes the tokens that this one needs next and had better wait for, if anybody does.

    Nobody waits for a sequence of less priority, nor for less than a page that is not the better
    half of what is left: to begin at once is sooner then.
    """
    for other, shared in sequence.kin.items():
        ahead = (other.computed, -other.number) > (sequence.computed, -sequence.number)
        gain = shared - sequence.computed
        worth = gain >= PAGE_TOKENS or 2 * gain >= sequence.pending
        if ahead and other.rank <= sequence.rank and gain > 0 and worth:
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
