"""Conversations to flat token batches: similar lengths side by side, several lengths a batch."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from .corpus.dialogue import make, render
from .model import Groups
from .text import Vocabulary

POOL = 384
"""Conversations drawn at a time and sorted by length."""
GROUP_TOKENS = 1280
LONGEST = 1600
"""Longer conversations are dropped; this is the length the model is trained for."""


@dataclass(frozen=True, slots=True)
class Batch:
    """ids [T]; `select`: flat positions whose successor is learnt; `targets`: those successors."""

    ids: torch.Tensor
    groups: Groups
    select: torch.Tensor
    targets: torch.Tensor


def encode(vocabulary: Vocabulary, parts: list[tuple[str, bool]]) -> tuple[list[int], list[bool]]:
    """Token ids and whether each is learnt."""
    ids: list[int] = []
    learnt: list[bool] = []
    for text, mine in parts:
        piece = vocabulary.encode(text)
        ids += piece
        learnt += [mine] * len(piece)
    return ids, learnt


def flatten(rows: list[list[tuple[list[int], list[bool]]]], pad: int) -> Batch:
    """One batch from groups of encoded conversations."""
    ids: list[int] = []
    select: list[int] = []
    targets: list[int] = []
    parts = []
    for group in rows:
        length = max(len(tokens) for tokens, _ in group)
        parts.append((len(group), length))
        for tokens, learnt in group:
            start = len(ids)
            for at in range(1, len(tokens)):
                if learnt[at]:
                    select.append(start + at - 1)
                    targets.append(tokens[at])
            ids += tokens + [pad] * (length - len(tokens))
    return Batch(
        torch.tensor(ids), Groups(tuple(parts)), torch.tensor(select), torch.tensor(targets)
    )


def pool_batches(vocabulary: Vocabulary, seed: int, pool: int, tokens: int) -> Iterator[Batch]:
    """The batches of one pool of conversations; a pool depends only on seed and number."""
    rng = random.Random(f"{seed}:{pool}")
    encoded = (encode(vocabulary, render(make(rng))) for _ in range(POOL))
    rows = sorted((row for row in encoded if len(row[0]) <= LONGEST), key=lambda row: len(row[0]))
    groups: list[list[tuple[list[int], list[bool]]]] = [[]]
    for row in rows:
        if groups[-1] and (len(groups[-1]) + 1) * len(row[0]) > GROUP_TOKENS:
            groups.append([])
        groups[-1].append(row)
    rng.shuffle(groups)
    share = max(1, tokens // GROUP_TOKENS)
    for at in range(0, len(groups) - share + 1, share):
        yield flatten(groups[at : at + share], vocabulary.pad)
