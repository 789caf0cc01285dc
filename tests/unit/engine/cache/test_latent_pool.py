"""Pages: what is written is read, whichever pages a sequence happens to have, in every form."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cache.latent_pool import PAGE_TOKENS, LatentForm, LatentPool, PagedCache, page_bytes
from engine.errors import ResourceError
from tests.unit.engine.cache.configs import config

FORMS: tuple[LatentForm, ...] = ("float32", "bf16", "int8")
LIMIT = 4 * PAGE_TOKENS


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=30, deadline=None)
@given(
    rank=st.sampled_from((2, 64, 70, 130)),
    rope=st.sampled_from((2, 6)),
    chunks=st.lists(st.integers(1, 150), max_size=4),
    seed=st.integers(0, 99),
)
def test_what_is_written_is_read(
    form: LatentForm, rank: int, rope: int, chunks: list[int], seed: int
) -> None:
    shape = config(layers=2, rank=rank, rope=rope)
    pool = LatentPool(shape, 8, form)
    pages = [pool.take() for _ in range(8)]
    rng = torch.Generator().manual_seed(seed)
    for i in torch.randperm(8, generator=rng).tolist():  # nobody counts on pages in order
        pool.give(pages[i])
    cache = PagedCache(pool, LIMIT)
    want = torch.randn(2, LIMIT, rank + rope, generator=rng).clamp(-4, 4)
    for count in chunks:
        begin, end = cache.length, min(LIMIT, cache.length + count)
        cache.reserve(end)
        for layer in range(2):
            cache.write(layer, begin, want[layer, begin:end])
        cache.length = end
    for begin in range(0, cache.length, 37):
        for layer in range(2):
            got = cache.read(layer, begin, cache.length, torch.float32)
            error = (got - want[layer, begin : cache.length]).abs()
            latents, keys = error.split((rank, rope), -1)
            # bf16 has 8 bits, so half a step is 2^-8 of up to 4; int8 has steps of up to 4/127.
            assert keys.max() <= (0 if form == "float32" else 2**-6)
            assert latents.max() <= {"float32": 0, "bf16": 2**-6, "int8": 0.51 * 4 / 127}[form]


def test_quantised_latents_are_near_and_zero_stays() -> None:
    shape = config(layers=1, rank=512, rope=64)
    cache = PagedCache(LatentPool(shape, 1, "int8"), PAGE_TOKENS)
    cache.reserve(3)
    want = torch.randn(3, 576, generator=torch.Generator().manual_seed(1))
    want[1, :512] = 0
    want[2, 64:128] *= 1e-3  # its group has a scale of its own
    cache.write(0, 0, want)
    got = cache.read(0, 0, 3, torch.float32)
    assert 1e-4 < (got - want).norm() / want.norm() < 1e-2
    assert not got[1, :512].any()
    assert (got[2, 64:128] - want[2, 64:128]).norm() / want[2, 64:128].norm() < 1e-2
    assert cache.pool.data.shape == (1, 1, 64, 512 + 2 * 64 + 4 * 8)


@pytest.mark.parametrize("form", FORMS)
def test_pages_are_counted(form: LatentForm) -> None:
    shape = config(layers=3, rank=70, rope=2)
    pool = LatentPool(shape, 3, form)
    assert pool.page_bytes == page_bytes(shape, form) == pool.data.nbytes // 3
    a, b = PagedCache(pool, LIMIT), PagedCache(pool, LIMIT)
    a.reserve(PAGE_TOKENS)
    b.reserve(PAGE_TOKENS + 1)
    assert (pool.free, len(pool.free_pages())) == (0, 0)
    with pytest.raises(ResourceError, match="cache_full: all 3 pages"):
        a.reserve(PAGE_TOKENS + 1)
    b.length = PAGE_TOKENS + 1
    b.truncate(PAGE_TOKENS)
    assert (pool.free, len(b.pages)) == (1, 1)
    a.reserve(PAGE_TOKENS + 1)
    assert set(a.pages) | set(b.pages) == {0, 1, 2}


def test_untouched_pages_take_no_memory() -> None:
    shape = config(layers=61, rank=512, rope=64)
    pool = LatentPool(shape, 4096, "bf16")  # 256 K tokens of K2
    assert pool.data.nbytes > 18e9
    cache = PagedCache(pool, 4096 * PAGE_TOKENS)
    cache.reserve(1)
    cache.write(60, 0, torch.ones(1, 576))
    assert cache.read(60, 0, 1, torch.float32).sum() == 576
