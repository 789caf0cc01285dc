"""Caches of finished sequences: what is taken, what stays, and the count that others read."""

from __future__ import annotations

import threading

import pytest

from engine.cache.latent_pool import LatentPool, PagedCache
from engine.cache.recent import RecentCaches
from engine.config import ModelConfig


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    sizes = dict.fromkeys(
        (
            "hidden_size",
            "intermediate_size",
            "moe_intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "kv_lora_rank",
            "qk_nope_head_dim",
            "qk_rope_head_dim",
            "v_head_dim",
            "n_routed_experts",
            "num_experts_per_tok",
            "vocab_size",
        ),
        2,
    )
    return ModelConfig.from_dict(
        sizes | {"model_type": "deepseek_v3", "max_position_embeddings": 64}
    )


def cache_of(config: ModelConfig, length: int) -> PagedCache:
    cache = PagedCache(LatentPool(config, 1, "float32"), 64)
    cache.reserve(length)
    cache.length = length
    return cache


def test_tokens_are_counted_in_and_out(config: ModelConfig) -> None:
    recent = RecentCaches(lambda: cache_of(config, 0), count=2)
    assert recent.tokens == 0
    for ids in ([1, 2, 3], [7, 8], [9, 9, 9, 9]):
        recent.put(ids, cache_of(config, len(ids)))
    assert recent.tokens == 6, "the oldest of three went"
    assert recent.take([1, 2, 3, 4]) is None
    whole = recent.take([7, 8, 1])
    assert whole is not None and whole.length == 2
    assert recent.tokens == 4, "an entry that is wholly a prefix moves out"
    part = recent.take([9, 9, 5])
    assert part is not None and part.length == 2
    assert recent.tokens == 4, "of another a copy is made"
    recent.clear()
    assert recent.tokens == 0


def test_tokens_may_be_read_while_entries_change(config: ModelConfig) -> None:
    recent = RecentCaches(lambda: cache_of(config, 0))
    over, wrong = threading.Event(), list[int]()

    def read() -> None:
        while not over.is_set():
            tokens = recent.tokens
            if not 0 <= tokens <= 10 * 8:
                wrong.append(tokens)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        caches = [cache_of(config, 10) for _ in range(8)]
        for i in range(2000):
            recent.put([i] * 10, caches[i % 8])
    finally:
        over.set()
        reader.join()
    assert wrong == []
    assert recent.tokens == 80
