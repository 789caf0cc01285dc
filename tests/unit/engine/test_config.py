"""``config.json`` is untrusted: whatever it says, a usable config or a typed error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.config import ModelConfig, read_json
from engine.errors import CheckpointError
from engine.making.shapes import read_shape
from engine.model.rope import RotaryTable
from engine.tiny import TinyShape, write_tiny

FIELDS = [
    "model_type",
    "hidden_size",
    "intermediate_size",
    "moe_intermediate_size",
    "num_hidden_layers",
    "first_k_dense_replace",
    "num_attention_heads",
    "q_lora_rank",
    "kv_lora_rank",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
    "v_head_dim",
    "n_routed_experts",
    "n_shared_experts",
    "num_experts_per_tok",
    "n_group",
    "topk_group",
    "scoring_func",
    "norm_topk_prob",
    "routed_scaling_factor",
    "rms_norm_eps",
    "rope_theta",
    "max_position_embeddings",
    "vocab_size",
    "tie_word_embeddings",
    "eos_token_id",
    "rope_scaling",
    "rope_parameters",
    "quantization_config",
    "text_config",
    "rope_interleave",
]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A sound configuration."""
    folder = write_tiny(tmp_path_factory.mktemp("tiny"), shape=TinyShape(layers=2, experts=4))
    return read_json(folder / "config.json")


def refused(raw: dict[str, Any]) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        ModelConfig.from_dict(raw)
    assert caught.value.code and caught.value.message
    return caught.value


@pytest.mark.parametrize("kind", ["llama", "", None, 7, ["kimi_k2"], {"kimi_k2": 1}])
def test_an_unknown_architecture_is_named_with_what_is_known(
    raw: dict[str, Any], kind: object
) -> None:
    error = refused({**raw, "model_type": kind})
    assert error.code == "unknown_architecture"
    assert repr(kind) in error.message
    assert "kimi_k2" in error.hint and "deepseek_v3" in error.hint


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_size", 0),
        ("hidden_size", -64),
        ("hidden_size", 1 << 40),
        ("hidden_size", 64.0),
        ("hidden_size", "64"),
        ("hidden_size", True),
        ("hidden_size", None),
        ("num_hidden_layers", 10**9),
        ("n_routed_experts", 10**12),
        ("vocab_size", 1 << 62),
        ("max_position_embeddings", 1 << 60),
        ("qk_rope_head_dim", 7),
        ("num_experts_per_tok", 9),
        ("n_group", 3),
        ("topk_group", 2),
        ("first_k_dense_replace", 99),
        ("rms_norm_eps", float("nan")),
        ("rope_theta", float("inf")),
        ("routed_scaling_factor", -1.0),
        ("quantization_config", {"quant_method": "compressed-tensors", "config_groups": []}),
    ],
)
def test_an_absurd_value_is_named(raw: dict[str, Any], field: str, value: object) -> None:
    error = refused({**raw, field: value})
    assert error.code == "config_absurd"
    assert error.hint
    # Top-k beyond the number of experts is told of as a division that leaves no room for it.
    assert field in error.message or field == "num_experts_per_tok"


@pytest.mark.parametrize("field", ["hidden_size", "kv_lora_rank", "vocab_size", "model_type"])
def test_what_cannot_be_guessed_must_be_there(raw: dict[str, Any], field: str) -> None:
    refused({k: v for k, v in raw.items() if k != field})


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"scoring_func": "softmax"}, "unsupported_config"),
        ({"rope_scaling": {"type": "longrope"}}, "unsupported_config"),
        ({"quantization_config": {"quant_method": "gptq"}}, "unsupported_quantisation"),
        (
            {
                "quantization_config": {
                    "quant_method": "compressed-tensors",
                    "config_groups": {"a": {"weights": {"num_bits": 8, "group_size": 32}}},
                }
            },
            "unsupported_quantisation",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused(
    raw: dict[str, Any], changes: dict[str, Any], code: str
) -> None:
    assert refused({**raw, **changes}).code == code


def test_a_wrapper_keeps_the_text_model_inside(raw: dict[str, Any]) -> None:
    wrapped = ModelConfig.from_dict({"model_type": "kimi_k25", "text_config": raw})
    plain = ModelConfig.from_dict(raw)
    assert wrapped.prefix == "language_model."
    assert (wrapped.family, wrapped.hidden_size) == (plain.family, plain.hidden_size)
    assert wrapped.quantisation == plain.quantisation is not None


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-10, 70)
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "rope_type", "factor", "rope_theta", "quant_method", "format"),
                    *("config_groups", "weights", "original_max_position_embeddings"),
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3))
@settings(max_examples=300, deadline=None)
def test_any_values_give_a_config_or_a_checkpoint_error(
    raw: dict[str, Any], changes: dict[str, Any]
) -> None:
    try:
        config = ModelConfig.from_dict({**raw, **changes})
    except CheckpointError as error:
        assert error.code and error.message
        return
    assert config.softmax_scale > 0
    assert config.num_experts_per_tok <= config.n_routed_experts
    assert 0 <= config.moe_layers <= config.num_hidden_layers
    assert all(0 <= token < config.vocab_size for token in config.eos_ids)


def angles(raw: dict[str, Any], theta: float, **rope: float) -> Tensor:
    """Cosines of a few positions."""
    changed = {**raw, "rope_theta": theta, "rope_scaling": {"type": "yarn", **rope}}
    return RotaryTable(ModelConfig.from_dict(changed)).at(torch.tensor([0, 1, 4095]))[0]


@given(
    theta=st.floats(1.01, 1e12),
    factor=st.floats(1.0, 1e5),
    fast=st.floats(1e-3, 1e4),
    slow=st.floats(1e-3, 1e4),
)
@settings(max_examples=60, deadline=None)
def test_an_accepted_config_has_angles(
    raw: dict[str, Any], theta: float, factor: float, fast: float, slow: float
) -> None:
    assert angles(raw, theta, factor=factor, beta_fast=fast, beta_slow=slow).isfinite().all()


def test_the_least_theta_has_angles_or_is_refused(raw: dict[str, Any]) -> None:
    try:
        assert angles(raw, 1.0, factor=40.0).isfinite().all()
    except CheckpointError as error:
        assert error.code == "config_absurd"


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[" * 100_000, b"\xff\xfe\x00", b'{"hidden_size": ' + b"9" * 5000 + b"}"],
    ids=["empty", "cut", "deep", "bytes", "digits"],
)
def test_a_file_that_is_not_json(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(CheckpointError) as caught:
        ModelConfig.from_folder(tmp_path)
    assert caught.value.code == "config_damaged"
    assert caught.value.hint


@pytest.mark.parametrize("value", [[], "x", 3, None])
def test_json_that_is_no_object(tmp_path: Path, value: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps(value))
    with pytest.raises(CheckpointError) as caught:
        ModelConfig.from_folder(tmp_path)
    assert caught.value.code == "config_damaged"


def test_a_missing_file_and_a_huge_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        ModelConfig.from_folder(tmp_path)
    assert caught.value.code == "file_missing"
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(1 << 40)  # sparse: takes no disk, and must not be read
    with pytest.raises(CheckpointError) as caught:
        ModelConfig.from_folder(tmp_path)
    assert caught.value.code == "config_absurd"


FP8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}


def test_fp8_in_blocks_of_128(raw: dict[str, Any]) -> None:
    quant = ModelConfig.from_dict({**raw, "quantization_config": FP8}).quantisation
    assert quant is not None
    assert (quant.format, quant.bits, quant.group_size) == ("fp8", 8, 128)
    assert str(quant) == "fp8 b128"


@pytest.mark.parametrize(
    "change",
    [
        {"fmt": "e5m2"},
        {"weight_block_size": None},
        {"weight_block_size": [1, 128]},
        {"weight_block_size": "128"},
    ],
    ids=str,
)
def test_other_fp8_is_refused(raw: dict[str, Any], change: dict[str, Any]) -> None:
    error = refused({**raw, "quantization_config": {**FP8, **change}})
    assert error.code == "unsupported_quantisation"
    assert error.hint


def test_glm_is_the_same_skeleton() -> None:
    config = ModelConfig.from_dict(read_shape("glm-4.7-flash"))
    assert config.family == "glm4_moe_lite"
    assert (config.num_hidden_layers, config.moe_layers) == (47, 46)
    assert (config.qk_head_dim, config.latent_dim, config.q_lora_rank) == (256, 576, 768)
    assert config.yarn is None and config.rope_interleaved
    assert (config.rope_theta, config.scoring) == (1e6, "sigmoid")
    assert config.softmax_scale == 1 / 16


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({"scoring_func": "sigmoid"}, True),
        ({}, True),
        ({"topk_method": "noaux_tc"}, True),
        ({"scoring_func": "softmax"}, False),
        ({"scoring_func": None}, False),
        ({"scoring_func": "sigmoid", "topk_method": "greedy"}, False),
        ({"topk_method": "group_limited_greedy"}, False),
    ],
    ids=str,
)
def test_the_routing_is_what_the_file_says(changes: dict[str, Any], accepted: bool) -> None:
    shape = read_shape("glm-4.7-flash")
    raw = {k: v for k, v in shape.items() if k not in ("scoring_func", "topk_method")}
    if accepted:
        assert ModelConfig.from_dict({**raw, **changes}).scoring == "sigmoid"
    else:
        assert refused({**raw, **changes}).code == "unsupported_config"


@pytest.mark.parametrize(
    ("kinds", "dense"),
    [
        (["dense", "sparse", "sparse"], 1),
        (["sparse"] * 3, 0),
        (["dense"] * 3, 3),
        (["dense", "sparse", "dense"], None),
        (["dense", "sparse"], None),
        (["dense", "odd", "sparse"], None),
        ("dense", None),
    ],
    ids=str,
)
def test_dense_layers_may_be_told_one_by_one(kinds: object, dense: int | None) -> None:
    raw = read_shape("glm-4.7-flash", layers=3)
    del raw["first_k_dense_replace"]
    raw["mlp_layer_types"] = kinds
    if dense is None:
        assert refused(raw).code == "config_absurd"
    else:
        assert ModelConfig.from_dict(raw).first_k_dense_replace == dense
