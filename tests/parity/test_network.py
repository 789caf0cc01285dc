"""The native network's one call against the same model layer by layer.

In exact mode both compute float32 sums of the same products in another order: logits of unit spread
agree to about 1e-5. In fast mode INT4 layers carry the error of INT8 activations.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.cache.latent_pool import PagedCache
from engine.experts.assembly import ExpertOptions
from engine.experts.observed import ObservedExperts
from engine.model.deepseek import FEW_TOKENS, Batch, Model
from engine.model.linear import NativeLinear
from engine.model.loader import KernelOptions, load_model
from engine.tiny import Family, TinyShape, write_tiny

FAMILIES: tuple[Family, ...] = ("kimi_k2", "deepseek_v3", "moonlight")
SHAPE = TinyShape(hidden=128, layers=4, heads=6, experts=12, top_k=3, inner=64)


@pytest.fixture(params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "model", seed=3, family=request.param, shape=SHAPE)


def layer_by_layer(model: Model, batch: Batch) -> torch.Tensor:
    """With a `form` the network is left out; expanded heads share no kernel with its attention."""
    return model.forward(batch, all_logits=True, form="expanded")


def prompts(model: Model, lengths: list[int]) -> list[list[int]]:
    rng = torch.Generator().manual_seed(5)
    return [torch.randint(0, 256, (n,), generator=rng).tolist() for n in lengths]


def prefilled(model: Model, tokens: list[list[int]]) -> list[PagedCache]:
    caches = [model.new_cache() for _ in tokens]
    layer_by_layer(model, Batch(list(zip(caches, tokens, strict=True))))
    return caches


@pytest.mark.parametrize("dense", ["auto", "published", "int8", "int4"])
def test_a_step_agrees_with_the_layers(folder: Path, dense: str) -> None:
    model = load_model(folder, kernels=KernelOptions(mode="exact", dense=dense))
    assert model.network is not None
    tokens = prompts(model, [9, 1, 30])
    caches, twins = prefilled(model, tokens), prefilled(model, tokens)
    for new in ([[5], [6], [7]], [[8, 9, 10], [11], [12, 13]]):
        got = model.forward(Batch(list(zip(caches, new, strict=True))), all_logits=True)
        want = layer_by_layer(model, Batch(list(zip(twins, new, strict=True))))
        assert got.shape == want.shape
        assert want.std() > 0.3  # or the comparison would be blind
        # Queries are absorbed by kv_b's transpose, which is packed in other groups.
        limit = {"auto": 2e-4, "published": 2e-4, "int8": 2e-2, "int4": 0.4}[dense]
        assert (got - want).norm() / want.norm() < limit
    for cache, twin in zip(caches, twins, strict=True):
        assert cache.length == twin.length
    model.close()


def test_rows_do_not_depend_on_what_is_beside_them(folder: Path) -> None:
    """In exact mode to the last bit, up to as many rows as are taken whole."""
    model = load_model(folder, kernels=KernelOptions(mode="exact"))
    new = prompts(model, [1 + i % 5 for i in range(20)])
    new[-1] = prompts(model, [FEW_TOKENS - sum(map(len, new[:-1]))])[0]
    assert sum(map(len, new)) == FEW_TOKENS
    caches = prefilled(model, prompts(model, [1 + 7 * i for i in range(20)]))
    lengths = [cache.length for cache in caches]
    together = model.forward(Batch(list(zip(caches, new, strict=True))), all_logits=True)
    for cache, length in zip(caches, lengths, strict=True):
        cache.truncate(length)
    alone = [
        model.forward(Batch([part]), all_logits=True) for part in zip(caches, new, strict=True)
    ]
    assert torch.equal(together, torch.cat(alone))
    model.close()


def test_fast_mode_stays_close(folder: Path) -> None:
    exact = load_model(folder, kernels=KernelOptions(mode="exact"))
    fast = load_model(folder, kernels=KernelOptions(mode="fast"))
    tokens = prompts(exact, [40])
    (a,), (b,) = prefilled(exact, tokens), prefilled(fast, tokens)
    want = exact.forward(Batch([(a, [3])]))
    got = fast.forward(Batch([(b, [3])]))
    assert 0 < (got - want).norm() / want.norm() < 3e-2
    exact.close()
    fast.close()


def test_long_contexts_are_divided_and_joined(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", shape=TinyShape(hidden=64, layers=2, heads=5))
    model = load_model(folder, threads=3)
    tokens = prompts(model, [1700])
    caches, twins = prefilled(model, tokens), prefilled(model, tokens)
    got = model.forward(Batch([(caches[0], [1, 2])]), all_logits=True)
    want = layer_by_layer(model, Batch([(twins[0], [1, 2])]))
    assert (got - want).abs().max() < 2e-4
    model.close()


def test_narrow_caches_round_like_torch(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", shape=SHAPE)
    model = load_model(folder, torch.bfloat16)
    (cache,), (twin,) = (prefilled(model, prompts(model, [20])) for _ in range(2))
    assert cache.pool.data.dtype == torch.bfloat16
    got = model.forward(Batch([(cache, [4])]))
    want = layer_by_layer(model, Batch([(twin, [4])]))
    assert (got - want[-1:]).abs().max() < 3e-2
    close = (cache.read(3, 0, 21, torch.float32) - twin.read(3, 0, 21, torch.float32)).abs().max()
    assert close < 3e-2
    model.close()


def test_int8_caches_are_the_same_by_both_ways(tmp_path: Path) -> None:
    """What the network stores and what torch does, beside what it costs to store so little."""
    folder = write_tiny(tmp_path / "model", shape=SHAPE)
    model = load_model(folder)
    tokens = prompts(model, [70])[0]
    cache, twin = model.new_cache(form="int8"), model.new_cache(form="int8")
    exact = model.new_cache()
    for one in (cache, twin, exact):
        layer_by_layer(model, Batch([(one, tokens)]))
    for new in ([1, 2, 3], [4]):
        got = model.forward(Batch([(cache, new)]), all_logits=True)
        want = layer_by_layer(model, Batch([(twin, new)]))
        wide = layer_by_layer(model, Batch([(exact, new)]))
        # A difference in the last bit may tip a rounding to another of 127 steps.
        assert (got - want).norm() < 0.1 * (want - wide).norm()
        assert (want - wide).norm() / wide.norm() < 3e-2
    for layer in range(SHAPE.layers):
        a, b = (c.read(layer, 70, 74, torch.float32) for c in (cache, twin))
        assert (a - b).norm() / b.norm() < 2e-3
    model.close()


def test_routing_is_counted_in_both_ways(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", shape=SHAPE)
    model = load_model(folder)
    assert isinstance(model.experts, ObservedExperts)
    stats = model.experts.stats
    layers = SHAPE.layers - 1
    cache = model.new_cache()
    model.forward(Batch([(cache, list(range(FEW_TOKENS + 4)))]))  # by layers
    assert stats.hits.sum() == (FEW_TOKENS + 4) * layers * SHAPE.top_k
    model.forward(Batch([(cache, [1, 2])]))  # whole
    assert stats.hits.sum() == (FEW_TOKENS + 6) * layers * SHAPE.top_k
    model.close()


def test_a_memory_budget_goes_layer_by_layer_on_the_same_kernels(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", shape=SHAPE)
    kernels = KernelOptions(mode="exact", dense="int8")
    whole = load_model(folder, kernels=kernels)
    budget = load_model(folder, kernels=kernels, options=ExpertOptions(ram_bytes=1 << 20))
    assert whole.network is not None
    assert budget.network is None
    assert isinstance(budget._head, NativeLinear)
    tokens = prompts(whole, [FEW_TOKENS + 4])  # too many for the network: the same way for both
    (a,), (b,) = prefilled(whole, tokens), prefilled(budget, tokens)
    assert torch.equal(*(c.read(3, 0, FEW_TOKENS + 4, torch.float32) for c in (a, b)))
    got = budget.forward(Batch([(b, [1])]))
    want = whole.forward(Batch([(a, [1])]))
    assert (got - want).norm() / want.norm() < 2e-2  # kv_b as published against packed
    whole.close()
    budget.close()
