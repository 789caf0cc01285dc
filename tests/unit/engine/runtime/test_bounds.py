"""The ceilings beside which speeds are shown, against a count by hand."""

from __future__ import annotations

import pytest

from engine.config import ModelConfig
from engine.placement.footprint import footprint
from engine.runtime.bounds import Gauge, Rates, Reading, bounds


def config(experts: int) -> ModelConfig:
    """One dense layer and one with experts."""
    return ModelConfig.from_dict(
        {
            "model_type": "deepseek_v3",
            "hidden_size": 64,
            "intermediate_size": 96,
            "moe_intermediate_size": 32,
            "num_hidden_layers": 2,
            "first_k_dense_replace": 1,
            "num_attention_heads": 2,
            "q_lora_rank": None,
            "kv_lora_rank": 24,
            "qk_nope_head_dim": 8,
            "qk_rope_head_dim": 4,
            "v_head_dim": 6,
            "n_routed_experts": experts,
            "num_experts_per_tok": 2,
            "n_shared_experts": 1,
            "vocab_size": 512,
            "max_position_embeddings": 128,
        }
    )


ATTENTION = 64 * 2 * 12 + 64 * 28 + 24 * 2 * 14 + 2 * 6 * 64
MATRICES = 2 * ATTENTION + 3 * 64 * 96 + 3 * 64 * 32
HEAD, ROUTED = 64 * 512, 2 * 3 * 64 * 32


def test_bounds_by_hand() -> None:
    router, norms = 8 * 65, 2 * (2 * 64 + 24) + 64
    found = bounds(footprint(config(8)), "bf16", Rates(read=1e9, int8=3e9))
    read = 2 * (MATRICES + HEAD + ROUTED) + 4 * router + 2 * norms
    assert found.decode == pytest.approx(1e9 / read)
    assert found.prefill == pytest.approx(3e9 / (2 * (MATRICES + ROUTED + router)))


def test_what_a_token_does_not_need_costs_nothing() -> None:
    few, many = (bounds(footprint(config(n)), "int8", Rates(2e10, 4e11)) for n in (8, 64))
    assert many.decode == pytest.approx(few.decode, rel=0.15), "the router's rows are all it adds"
    assert many.decode < few.decode


def test_rates_of_this_machine() -> None:
    rates = Rates.measured(Reading(1))
    assert 1e8 < rates.read < 1e13
    assert 1e8 < rates.int8 < 1e14


def test_the_best_of_a_few_measurements() -> None:
    now = [0.0]
    gauge = Gauge(lambda: now[0])
    assert gauge.due(Reading(1))
    assert gauge.best(Reading(1)) is None
    seen = []
    for time in (0.0, 10.0, 20.0):
        now[0] = time
        assert gauge.due(Reading(1))
        gauge.measure(Reading(1))
        best = gauge.best(Reading(1))
        assert best is not None
        seen.append(best)
        assert not gauge.due(Reading(1)), "too soon"
    assert [r.read for r in seen] == sorted(r.read for r in seen)
    assert [r.int8 for r in seen] == sorted(r.int8 for r in seen)
    now[0] = 1000.0
    assert not gauge.due(Reading(1)), "often enough"
    assert gauge.due(Reading(2)), "of other threads nothing is known"
    assert gauge.due(Reading(1, 9)), "nor of what stays in caches"


def test_a_small_model_is_read_from_where_it_lies() -> None:
    small = footprint(config(8))
    size = small.dense_bytes("bf16") + small.experts_bytes
    assert Reading.of(2, small, "bf16") == Reading(2, 1 + size // 2**20)
    assert Reading.of(2, footprint(config(65_536)), "float32") == Reading(2), "more than is read"
