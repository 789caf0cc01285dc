"""Check drafted tokens against what the model samples.

Every row is sampled as it would be without drafts, in the same order and from the same random
numbers, so the reply is the same token for token: a draft only decides how many rows a step has.
For a drafter that proposes single tokens with certainty this is the acceptance rule of Leviathan
et al. 2023 (arXiv:2211.17192): the draft is kept with the probability that the model gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from engine.sampling.sampler import Sampled


def verify(
    rows: Sequence[Tensor] | Tensor, drafts: Sequence[int], sample_one: Callable[[Tensor], Sampled]
) -> Iterator[Sampled]:
    """Logits [len(drafts) + 1, V] -> the tokens that follow, at least one.

    Row 0 belongs to the last known token, row i to draft i-1. A row is sampled when its token is
    asked for, so whoever stops at the end of a reply draws no random number too many. All tokens
    but the last were drafted: their latents stay in the cache, those after them are cut off.
    """
    assert len(rows) == len(drafts) + 1
    for i, row in enumerate(rows):
        sampled = sample_one(row)
        yield sampled
        if i == len(drafts) or sampled.id != drafts[i]:
            return
