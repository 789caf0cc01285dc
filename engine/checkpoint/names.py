"""Which tensors a model of a given shape consists of: one table for loading and for reports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from engine.config import ModelConfig

Part = Literal["embeddings", "attention", "norms", "dense", "router", "shared", "experts"]
FLOATS = ("BF16", "F32")
"""Accepted for whatever is not quantised; the first is how it is published."""


class Expected(msgspec.Struct, frozen=True, gc=False):
    """A tensor that must be there. ``weights`` counts the parameters that it stands for.

    A struct, because a large model has 200,000 of them.
    """

    name: str
    shape: tuple[int, ...]
    dtypes: tuple[str, ...]
    part: Part
    weights: int
    active: float = 1.0
    """The share of it that one token uses."""


def layer_prefix(config: ModelConfig, layer: int) -> str:
    """``model.layers.L.`` with the family's prefix."""
    return f"{config.prefix}model.layers.{layer}."


def expert_prefix(config: ModelConfig, layer: int, expert: int) -> str:
    """``…mlp.experts.E.``"""
    return f"{layer_prefix(config, layer)}mlp.experts.{expert}."


def expert_shapes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """(out, in) of an expert's three matrices."""
    inner, hidden = config.moe_intermediate_size, config.hidden_size
    return {
        "gate_proj": (inner, hidden),
        "up_proj": (inner, hidden),
        "down_proj": (hidden, inner),
    }


def attention_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Names under ``self_attn.`` and their shapes."""
    n, h = config.num_attention_heads, config.hidden_size
    rank = config.q_lora_rank
    query: dict[str, tuple[int, ...]]
    if rank is None:
        query = {"q_proj.weight": (n * config.qk_head_dim, h)}
    else:
        query = {
            "q_a_proj.weight": (rank, h),
            "q_a_layernorm.weight": (rank,),
            "q_b_proj.weight": (n * config.qk_head_dim, rank),
        }
    return {
        **query,
        "kv_a_proj_with_mqa.weight": (config.latent_dim, h),
        "kv_a_layernorm.weight": (config.kv_lora_rank,),
        "kv_b_proj.weight": (
            n * (config.qk_nope_head_dim + config.v_head_dim),
            config.kv_lora_rank,
        ),
        "o_proj.weight": (h, n * config.v_head_dim),
    }


def expected_tensors(config: ModelConfig) -> Iterator[Expected]:
    """Everything that a complete checkpoint of this shape holds.

    Layers that some families add for multi-token prediction are not needed and not asked for.
    """
    vocab, hidden = config.vocab_size, config.hidden_size
    prefix = config.prefix
    yield _plain(f"{prefix}model.embed_tokens.weight", (vocab, hidden), "embeddings", 1 / vocab)
    for layer in range(config.num_hidden_layers):
        yield from _layer(config, layer)
    yield _plain(f"{prefix}model.norm.weight", (hidden,), "norms")
    if not config.tie_word_embeddings:
        yield _plain(f"{prefix}lm_head.weight", (vocab, hidden), "embeddings")


def prediction_tensors(config: ModelConfig) -> Iterator[Expected]:
    """The layer for multi-token prediction, where a family adds one after its last."""
    layer, vocab, hidden = config.num_hidden_layers, config.vocab_size, config.hidden_size
    at = layer_prefix(config, layer)
    for norm in ("enorm", "hnorm", "shared_head.norm"):
        yield _plain(f"{at}{norm}.weight", (hidden,), "norms")
    yield _plain(f"{at}eh_proj.weight", (hidden, 2 * hidden), "dense")
    yield _plain(f"{at}shared_head.head.weight", (vocab, hidden), "embeddings")
    yield from _layer(config, layer)


def _layer(config: ModelConfig, layer: int) -> Iterator[Expected]:
    at, hidden = layer_prefix(config, layer), config.hidden_size
    for norm in ("input_layernorm", "post_attention_layernorm"):
        yield _plain(f"{at}{norm}.weight", (hidden,), "norms")
    for name, shape in attention_shapes(config).items():
        if len(shape) == 1:
            yield _plain(f"{at}self_attn.{name}", shape, "norms")
        else:
            yield from _linear(config, f"{at}self_attn.{name}", (shape[0], shape[1]), "attention")
    if not config.is_moe(layer):
        yield from _mlp(config, f"{at}mlp.", config.intermediate_size, "dense")
        return
    experts = config.n_routed_experts
    yield _plain(f"{at}mlp.gate.weight", (experts, hidden), "router")
    bias = f"{at}mlp.gate.e_score_correction_bias"
    yield Expected(bias, (experts,), ("F32", "BF16"), "router", experts)
    if config.n_shared_experts:
        inner = config.moe_intermediate_size * config.n_shared_experts
        yield from _mlp(config, f"{at}mlp.shared_experts.", inner, "shared")
    for expert in range(experts):
        yield from _expert(config, expert_prefix(config, layer, expert))


def _expert(config: ModelConfig, at: str) -> Iterator[Expected]:
    share = config.num_experts_per_tok / config.n_routed_experts
    quant = config.quantisation
    for name, (rows, columns) in expert_shapes(config).items():
        stem = f"{at}{name}.weight"
        if quant is None or quant.format != "int4":
            yield from _linear(config, stem, (rows, columns), "experts", share)
            continue
        packed, scale = (rows, columns // 8), (rows, columns // quant.group_size)
        yield Expected(f"{stem}_packed", packed, ("I32",), "experts", rows * columns, share)
        yield Expected(f"{stem}_scale", scale, ("BF16",), "experts", 0, share)
        yield Expected(f"{stem}_shape", (2,), ("I32", "I64"), "experts", 0, share)


def _mlp(config: ModelConfig, at: str, inner: int, part: Part) -> Iterator[Expected]:
    hidden = config.hidden_size
    yield from _linear(config, f"{at}gate_proj.weight", (inner, hidden), part)
    yield from _linear(config, f"{at}up_proj.weight", (inner, hidden), part)
    yield from _linear(config, f"{at}down_proj.weight", (hidden, inner), part)


def _linear(
    config: ModelConfig, name: str, shape: tuple[int, int], part: Part, active: float = 1.0
) -> Iterator[Expected]:
    """A linear layer's matrix; with FP8 its scales, one per started block, follow."""
    quant = config.quantisation
    if quant is None or quant.format != "fp8":
        yield _plain(name, shape, part, active)
        return
    scale = block_grid(shape, quant.group_size)
    yield Expected(name, shape, ("F8_E4M3",), part, shape[0] * shape[1], active)
    yield Expected(f"{name}_scale_inv", scale, ("F32",), part, 0, active)


def block_grid(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """How many square blocks cover a matrix, downwards and across; the last may overhang."""
    return -(-shape[0] // side), -(-shape[1] // side)


def _plain(name: str, shape: tuple[int, ...], part: Part, active: float = 1.0) -> Expected:
    weights = 1
    for size in shape:
        weights *= size
    return Expected(name, shape, FLOATS, part, weights, active)
