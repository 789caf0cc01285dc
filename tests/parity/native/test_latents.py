"""Attention to pages of latents against softmax in float64 over the values that are stored.

Tolerance as in test_attention.py: what is stored is rounded, what is computed from it is not.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.cache.latent_pool import LatentForm, LatentPool, PagedCache
from engine.config import ModelConfig
from engine.native import _kernels

ISAS = _kernels.available_isas()
FORMS: tuple[LatentForm, ...] = ("float32", "bf16", "int8")
SCALE = 0.3


def small_config(heads: int, rank: int = 100, rope: int = 10) -> ModelConfig:
    """Rows with a rest after whole vectors, groups of scales and words."""
    return ModelConfig.from_dict(
        {
            "model_type": "kimi_k2",
            "hidden_size": 8,
            "intermediate_size": 8,
            "moe_intermediate_size": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": heads,
            "kv_lora_rank": rank,
            "qk_nope_head_dim": 2,
            "qk_rope_head_dim": rope,
            "v_head_dim": 2,
            "n_routed_experts": 2,
            "num_experts_per_tok": 1,
            "vocab_size": 100,
            "max_position_embeddings": 1024,
        }
    )


def filled(config: ModelConfig, form: LatentForm, lengths: list[int]) -> list[PagedCache]:
    """Caches whose pages lie between each other's."""
    pool = LatentPool(config, sum(n // 64 + 1 for n in lengths), form)
    draw = torch.Generator().manual_seed(sum(lengths))
    caches = [PagedCache(pool, 1000) for _ in lengths]
    for total in range(64, 64 * (max(lengths) // 64 + 2), 64):
        for cache, length in zip(caches, lengths, strict=True):
            cache.reserve(min(total, length))
    for cache, length in zip(caches, lengths, strict=True):
        for layer in range(config.num_hidden_layers):
            cache.write(layer, 0, torch.randn(length, config.latent_dim, generator=draw))
        cache.length = length
    return caches


def queries(config: ModelConfig, tokens: int) -> Tensor:
    """float32 [T, N*(R+P)]"""
    draw = torch.Generator().manual_seed(tokens)
    return torch.randn(tokens, config.num_attention_heads * config.latent_dim, generator=draw)


def wanted(
    config: ModelConfig, caches: list[PagedCache], counts: list[int], layer: int, query: Tensor
) -> Tensor:
    """float64 [T, N*R]"""
    outputs, at = [], 0
    for cache, count in zip(caches, counts, strict=True):
        latents = cache.read(layer, 0, cache.length, torch.float32).double()  # [L, R+P]
        q = query[at : at + count].double().unflatten(1, (-1, config.latent_dim))  # [t, N, R+P]
        scores = torch.einsum("tnc,lc->tnl", q, latents) * SCALE
        seen = torch.ones(count, len(latents), dtype=torch.bool).tril(len(latents) - count)
        weights = scores.masked_fill(~seen[:, None], -torch.inf).softmax(-1)  # [t, N, L]
        outputs.append((weights @ latents[:, : config.kv_lora_rank]).flatten(1))  # [t, N*R]
        at += count
    return torch.cat(outputs)


def attend(
    config: ModelConfig,
    caches: list[PagedCache],
    counts: list[int],
    layer: int,
    query: Tensor,
    isa: str = "auto",
    threads: int = 2,
) -> Tensor:
    pool = _kernels.Experts(threads, isa)
    got = _kernels.attend_latents(
        pool,
        query,
        [
            (c.pool.data, np.asarray(c.pages, np.int32), c.length - n, n)
            for c, n in zip(caches, counts, strict=True)
        ],
        layer,
        heads=config.num_attention_heads,
        rank=config.kv_lora_rank,
        rope=config.qk_rope_head_dim,
        softmax_scale=SCALE,
    )
    pool.close()
    return torch.from_numpy(got)


def error(got: Tensor, want: Tensor) -> float:
    return float((got - want).norm() / want.norm())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("rank", "rope"), [(100, 10), (192, 72)])
def test_latents_are_attended_to_as_stored(
    isa: str, form: LatentForm, rank: int, rope: int
) -> None:
    for heads in (1, 3, 4, 5, 20):
        config = small_config(heads, rank, rope)
        for length, count in ((1, 1), (63, 1), (64, 1), (65, 2), (129, 5), (300, 9), (9, 9)):
            caches = filled(config, form, [length])
            query = queries(config, count)
            got = attend(config, caches, [count], 1, query, isa)
            assert error(got, wanted(config, caches, [count], 1, query)) < 2e-6


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("threads", [1, 3, 16])
def test_sequences_and_threads(threads: int, form: LatentForm) -> None:
    """However the work is divided: by positions, by heads, by tokens."""
    for heads in (2, 70):
        config = small_config(heads)
        lengths, counts = [700, 5, 64, 190], [1, 2, 1, 40]
        caches = filled(config, form, lengths)
        query = queries(config, sum(counts))
        got = attend(config, caches, counts, 0, query, threads=threads)
        assert error(got, wanted(config, caches, counts, 0, query)) < 2e-6


@pytest.mark.parametrize("form", FORMS)
def test_what_is_stored_twice_is_attended_to_alike(form: LatentForm) -> None:
    """Tokens one by one and together: the same positions in other groups."""
    config = small_config(6)
    (cache,) = filled(config, form, [200])
    query = queries(config, 8)
    together = attend(config, [cache], [8], 0, query)
    for i in range(8):
        cache.length = 193 + i
        alone = attend(config, [cache], [1], 0, query[i : i + 1])
        assert error(alone[0], together[i].double()) < 1e-6


def test_what_does_not_fit_is_refused() -> None:
    config = small_config(2)
    (cache,) = filled(config, "bf16", [70])
    query = queries(config, 1)
    pool = _kernels.Experts(1)
    table = np.asarray(cache.pages, np.int32)

    def call(
        data: Tensor = cache.pool.data, pages: object = table, past: int = 69, layer: int = 0
    ) -> None:
        _kernels.attend_latents(
            pool,
            query,
            [(data, pages, past, 1)],
            layer,
            heads=2,
            rank=config.kv_lora_rank,
            rope=config.qk_rope_head_dim,
            softmax_scale=1.0,
        )

    call()
    with pytest.raises(_kernels.InputError, match="outside its pages"):
        call(past=128)
    with pytest.raises(_kernels.InputError, match="outside its pool"):
        call(pages=table + 50)
    with pytest.raises(_kernels.InputError, match="rows of"):
        call(data=cache.pool.data[..., :-2])
    with pytest.raises(_kernels.InputError, match="float32, bfloat16 or uint8"):
        call(data=cache.pool.data.double())
    for layer in (-1, config.num_hidden_layers):
        with pytest.raises(_kernels.InputError, match="no layer"):
            call(layer=layer)
    pool.close()
