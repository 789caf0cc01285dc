"""Trees over rows that can be foretold.

Every row that a sequence computes is a number that only the tokens before it determine, so that a
page in a wrong place is seen at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from engine.cache.latent_pool import PAGE_TOKENS, LatentPool, PagedCache
from engine.cache.prefix_tree import PrefixTree
from tests.unit.engine.cache.configs import config

LAYERS = 2
SHAPE = config(layers=LAYERS, rank=2, rope=2)
LIMIT = 5 * PAGE_TOKENS
ROOT = bytes(16)


def tree_of(pages: int) -> PrefixTree:
    return PrefixTree(LatentPool(SHAPE, pages, "float32"))


def expected(tokens: Sequence[int], end: int) -> torch.Tensor:
    """Latents of the first `end` tokens [end, R+P]: a hash of everything up to each."""
    return _rows(tuple(tokens[:end]))


@lru_cache(1000)
def _rows(tokens: tuple[int, ...]) -> torch.Tensor:
    rows, state = [], 1
    for token in tokens:
        state = (state * 1_000_003 + token + 1) % 16_777_213  # exact as float32
        rows.append(state)
    return torch.tensor(rows, dtype=torch.float32)[:, None].expand(-1, 4)


def compute(cache: PagedCache, tokens: Sequence[int], end: int) -> None:
    """What the model does: the latents of all tokens up to `end` are in the cache."""
    begin = cache.length
    cache.reserve(end)
    for layer in range(LAYERS):
        cache.write(layer, begin, expected(tokens, end)[begin:] + layer)
    cache.length = end


def check(cache: PagedCache, tokens: Sequence[int]) -> None:
    for layer in range(LAYERS):
        got = cache.read(layer, 0, cache.length, torch.float32)
        assert torch.equal(got, expected(tokens, cache.length) + layer)


def collect(tree: PrefixTree, cache: PagedCache, tokens: Sequence[int]) -> None:
    """All that the archive has."""
    while tree.restoring(cache):
        tree.collect(cache, tokens)
        tree.wait(1)


def opened(tree: PrefixTree, tokens: list[int]) -> PagedCache:
    """With all that is in the pool and in the archive."""
    cache = tree.open(tokens, LIMIT)
    tree.restore(cache, tokens)
    collect(tree, cache, tokens)
    return cache


def run(tree: PrefixTree, tokens: list[int]) -> int:
    """A whole sequence: how many tokens had to be computed."""
    cache = opened(tree, tokens)
    fresh = len(tokens) - cache.length
    compute(cache, tokens, len(tokens))
    check(cache, tokens)
    tree.close(cache, tokens)
    tree.check_integrity()
    return fresh


def known(tree: PrefixTree, tokens: list[int]) -> int:
    """How many of them need not be computed."""
    cache = opened(tree, tokens)
    length = cache.length
    tree.close(cache, tokens)
    tree.check_integrity()
    return length
