"""Bytes and FLOPs: against the table of tensors that the loader uses, and published numbers."""

from __future__ import annotations

from collections import Counter
from math import prod

import pytest

from engine.checkpoint.names import expected_tensors
from engine.config import ModelConfig
from engine.making.shapes import read_shape
from engine.placement.footprint import Footprint, footprint, matrix_bytes
from engine.protocol import WeightForm

from .machines import FP8, INT4, config

BYTES = {"F32": 4, "BF16": 2, "I32": 4, "F8_E4M3": 1}
SMALL = {
    "int4": config(quantization_config=INT4),
    "fp8": config(quantization_config=FP8, hidden_size=2112, q_lora_rank=96),
    "bf16": config(quantization_config=None, n_shared_experts=2, first_k_dense_replace=3),
    "tied": config(tie_word_embeddings=True),
    "dense": config(first_k_dense_replace=12),
    "moonlight": ModelConfig.from_dict(read_shape("moonlight-16b-a3b")),
    "glm": ModelConfig.from_dict(read_shape("glm-4.7-flash")),
}


def shape(name: str) -> Footprint:
    return footprint(ModelConfig.from_dict(read_shape(name)), name)


@pytest.mark.parametrize("name", SMALL)
def test_stored_bytes_are_those_of_the_checkpoint(name: str) -> None:
    published = SMALL[name]
    by_part: Counter[str] = Counter()
    for tensor in expected_tensors(published):
        if tensor.name.endswith("weight_shape"):
            continue  # two integers a matrix, which nobody keeps
        # One is published in float32, all else as the first of its dtypes.
        dtype = "BF16" if "correction_bias" in tensor.name else tensor.dtypes[0]
        by_part[tensor.part] += prod(tensor.shape) * BYTES[dtype]
    model = footprint(published)
    assert model.experts_bytes == by_part["experts"]
    assert model.stored_bytes == by_part.total()


@pytest.mark.parametrize("name", SMALL)
def test_flops_are_two_for_each_weight_that_a_token_uses(name: str) -> None:
    tensors = list(expected_tensors(SMALL[name]))
    used = sum(t.weights * t.active for t in tensors if t.part not in ("norms", "embeddings"))
    model = footprint(SMALL[name])
    head = SMALL[name].vocab_size * SMALL[name].hidden_size
    flops = model.dense_flops + model.routed_flops
    assert flops == pytest.approx(2 * (used + head), rel=1e-9)


def test_k2_as_published() -> None:
    k2 = shape("k2-thinking")
    assert k2.expert_bytes == pytest.approx(24.77e6, rel=1e-3)
    assert k2.experts_bytes == pytest.approx(571e9, rel=1e-2)
    assert k2.stored_bytes == pytest.approx(594e9, rel=2e-3)
    assert k2.kv_bytes_per_token == 61 * 576 * 2
    assert k2.expert_bytes * k2.top_k * k2.moe_layers == pytest.approx(11.9e9, rel=1e-2)
    assert k2.dense_bytes("bf16") + k2.embedding_bytes == pytest.approx(23.7e9, rel=2e-2)


@pytest.mark.parametrize(
    ("name", "billions", "active"),
    [("deepseek-v3", 671, 37), ("k2-thinking", 1026, 32), ("moonlight-16b-a3b", 16, 2.9)],
)
def test_parameters_as_published(name: str, billions: float, active: float) -> None:
    model = shape(name)
    dense = (model.dense_flops - model.head.flops) // 2
    # Publishers count the input table and the head.
    dense += 2 * model.head.weights
    total = dense + model.expert_count * model.expert.weights
    assert total == pytest.approx(billions * 1e9, rel=0.01)
    assert dense + model.routed_flops // 2 == pytest.approx(active * 1e9, rel=0.03)


def test_deepseek_v3_keeps_embeddings_out_of_fp8() -> None:
    v3 = shape("deepseek-v3")
    assert (v3.expert_form, v3.dense_form) == ("fp8", "fp8")
    assert v3.stored_bytes - v3.experts_bytes > v3.dense_bytes("fp8")


@pytest.mark.parametrize(
    ("form", "size"),
    [
        ("float32", 4 * 3 * 40),
        ("bf16", 2 * 3 * 40),
        ("int8", 3 * 40 + 2 * 3 * 2),
        ("int4", 3 * 20 + 2 * 3 * 2),
        ("fp8", 3 * 40 + 4),
    ],
)
def test_scales_of_started_groups_count_whole(form: WeightForm, size: int) -> None:
    assert matrix_bytes(3, 40, form) == size


def test_context_costs_reading_and_arithmetic() -> None:
    model = footprint(config())
    more = model.decode_bytes("int8", 1000) - model.decode_bytes("int8")
    assert more == 1000 * model.kv_bytes_per_token
    # Scores over R + P values and sums over R, for each of 16 heads and 12 layers.
    assert model.layers * model.read_flops == 12 * 2 * 16 * (576 + 512)


def test_converted_experts_change_nothing_else() -> None:
    plain = footprint(config(quantization_config=None))
    packed = plain.with_experts("int4")
    assert packed.experts_bytes == footprint(config()).experts_bytes
    assert packed.stored_bytes - packed.experts_bytes == plain.stored_bytes - plain.experts_bytes
    assert packed.dense_flops == plain.dense_flops
    assert packed.routed_flops == plain.routed_flops
