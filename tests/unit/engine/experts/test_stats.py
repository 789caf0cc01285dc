"""Counting: right, cheap in memory, and readable from another thread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.experts.stats import GPU, MAPPED, RAM, ExpertStats

LAYERS, EXPERTS, TOP_K = (1, 2, 5), 8, 2


def _ids(seed: int, tokens: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(np.arange(EXPERTS), (tokens, 1)), axis=1)[:, :TOP_K].astype(
        np.int32
    )


@given(batches=st.lists(st.integers(0, 5), max_size=8))
def test_counts_are_the_naive_ones(batches: list[int]) -> None:
    stats = ExpertStats(LAYERS, EXPERTS, TOP_K)
    naive = np.zeros((len(LAYERS), EXPERTS), int)
    for seed, tokens in enumerate(batches):
        for row, layer in enumerate(LAYERS):
            ids = _ids(seed * 10 + layer, tokens)
            stats.count(layer, ids)
            for chosen in ids.reshape(-1):
                naive[row, chosen] += 1
    assert (stats.hits == naive).all()
    snapshot = stats.snapshot()
    assert snapshot.tokens == sum(batches)
    counts = np.frombuffer(snapshot.counts, "<u4").reshape(naive.shape)
    assert (counts == naive).all()
    assert counts.sum() == snapshot.tokens * snapshot.top_k * len(snapshot.layers)
    assert snapshot.minute_counts == snapshot.counts, "no minute has gone by"


def test_heat_halves_with_the_tokens() -> None:
    stats = ExpertStats((0,), 4, 1)
    stats.count(0, np.zeros((8, 1), np.int32))
    assert stats.heat(half_life=8)[0, 0] == 8
    assert stats.heat(half_life=8)[0, 0] == 8, "looking changes nothing"
    stats.count(0, np.ones((16, 1), np.int32))
    assert stats.heat(half_life=8)[0].tolist() == [2, 16, 0, 0]


def test_tiers_and_predictions_in_a_snapshot() -> None:
    stats = ExpertStats(LAYERS, EXPERTS, TOP_K)
    assert stats.snapshot().prediction_hit_rate is None
    stats.placement[0, 0] = stats.placement[1, 3] = MAPPED
    stats.on_gpu[0, 0] = True
    for layer in LAYERS:
        stats.count(layer, _ids(layer, 1))
    stats.gpu_hits, stats.mapped_hits = 1, 4
    stats.predicted, stats.predicted_right, stats.read_ahead_hits = 4, 3, 1
    snapshot = stats.snapshot()
    placement = np.frombuffer(snapshot.placement, np.uint8).reshape(len(LAYERS), EXPERTS)
    assert (placement[0, 0], placement[1, 3], placement[2, 7]) == (GPU, MAPPED, RAM)
    assert snapshot.tier_hits == (1, 1, 4)
    assert (snapshot.predicted, snapshot.predicted_right) == (4, 3)
    assert snapshot.prediction_hit_rate == pytest.approx(0.25)


def test_looked_at_within_a_step_no_tier_has_less_than_nothing() -> None:
    """Experts are read from disk, and counted as such, before the layer's choices are counted."""
    stats = ExpertStats((0,), EXPERTS, 2)
    for gpu, mapped in ((0, 4), (3, 9)):
        stats.gpu_hits, stats.mapped_hits = gpu, mapped
        found = stats.snapshot()
        assert found.tier_hits == (gpu, 0, mapped)
    stats.count(0, np.zeros((8, 2), np.int32))
    assert stats.snapshot().tier_hits == (3, 4, 9)


def test_the_newest_routing_is_kept_by_layer() -> None:
    stats = ExpertStats(LAYERS, EXPERTS, TOP_K)
    first, second = _ids(1, 3), _ids(2, 1)
    stats.count(1, first)
    stats.count(2, first)
    stats.count(1, second)
    assert stats.last[1] is second
    assert stats.last[2] is first
