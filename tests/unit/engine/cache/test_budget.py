"""Sizes of pools, of K2's shape: 61 layers, 576 values, 70,272 bytes a token in bf16."""

from __future__ import annotations

import pytest

from engine.cache.budget import pool_pages
from engine.cache.latent_pool import PAGE_TOKENS, page_bytes
from engine.errors import ResourceError
from tests.unit.engine.cache.configs import config

K2 = config(layers=61, rank=512, rope=64, context=262_144)
PAGE = 70_272 * PAGE_TOKENS
GIB = 1 << 30


def test_a_token_takes_what_the_shape_says() -> None:
    assert page_bytes(K2, "bf16") == PAGE
    assert page_bytes(K2, "float32") == 2 * PAGE
    assert page_bytes(K2, "int8") == 61 * PAGE_TOKENS * (512 + 128 + 32)


@pytest.mark.parametrize(
    ("context", "free", "pages"),
    [
        (262_144, 100 * GIB, 4096),  # one full context
        (32_768, 100 * GIB, 512),  # is more than 1 GiB
        (4096, 100 * GIB, GIB // PAGE),
        (262_144, 8 * GIB, 4 * GIB // PAGE),  # half of what is free
        (262_144, 0, 8192 // PAGE_TOKENS),  # it takes no memory before it is used
        (100, 0, 2),
    ],
)
def test_without_a_size(context: int, free: int, pages: int) -> None:
    assert pool_pages(K2, "bf16", context, 0, free) == pages


def test_with_a_size() -> None:
    assert pool_pages(K2, "bf16", 262_144, 10 * PAGE + 5, 0) == 10, "whatever is free"
    assert pool_pages(K2, "bf16", 100, 2 * PAGE, 0) == 2
    with pytest.raises(ResourceError) as caught:
        pool_pages(K2, "bf16", 262_144, 3 * PAGE, 100 * GIB)
    assert caught.value.code == "cache_too_small"
    assert caught.value.message == (
        "a cache of 13,492,224 bytes holds 192 tokens of this model; one short sequence takes "
        "17,989,632 bytes"
    )
