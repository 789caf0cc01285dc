"""Which tensors a model of a given shape consists of: one table for loading and for reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from engine.config import ModelConfig

Part = Literal["embeddings", "attention", "norms", "dense", "router", "shared", "experts"]
FLOATS = ("BF16", "F32")


@dataclass(frozen=True, slots=True)
class Expected:
    """A tensor that must be there. ``weights`` counts the parameters that it stands for."""

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
    """Everything that a complete checkpoint of this shape holds."""
    vocab, hidden = config.vocab_size, config.hidden_size
    prefix = config.prefix
    yield _plain(f"{prefix}model.embed_tokens.weight", (vocab, hidden), "embeddings", 1 / vocab)
    for layer in range(config.num_hidden_layers):
        yield from _layer(config, layer)
    yield _plain(f"{prefix}model.norm.weight", (hidden,), "norms")
    if not config.tie_word_embeddings:
        yield _plain(f"{prefix}lm_head.weight", (vocab, hidden), "embeddings")


def _layer(config: ModelConfig, layer: int) -> Iterator[Expected]:
    at, hidden = layer_prefix(config, layer), config.hidden_size
    for norm in ("input_layernorm", "post_attention_layernorm"):
        yield _plain(f"{at}{norm}.weight", (hidden,), "norms")
    for name, shape in attention_shapes(config).items():
        yield _plain(f"{at}self_attn.{name}", shape, "norms" if len(shape) == 1 else "attention")
    if not config.is_moe(layer):
        yield from _mlp(f"{at}mlp.", hidden, config.intermediate_size, "dense")
        return
    experts = config.n_routed_experts
    yield _plain(f"{at}mlp.gate.weight", (experts, hidden), "router")
    yield _plain(f"{at}mlp.gate.e_score_correction_bias", (experts,), "router")
    if config.n_shared_experts:
        inner = config.moe_intermediate_size * config.n_shared_experts
        yield from _mlp(f"{at}mlp.shared_experts.", hidden, inner, "shared")
    for expert in range(experts):
        yield from _expert(config, expert_prefix(config, layer, expert))


def _expert(config: ModelConfig, at: str) -> Iterator[Expected]:
    share = config.num_experts_per_tok / config.n_routed_experts
    for name, (rows, columns) in expert_shapes(config).items():
        if config.quantisation is None:
            yield _plain(f"{at}{name}.weight", (rows, columns), "experts", share)
            continue
        weights = rows * columns
        group = config.quantisation.group_size
        yield Expected(
            f"{at}{name}.weight_packed", (rows, columns // 8), ("I32",), "experts", weights, share
        )
        yield Expected(
            f"{at}{name}.weight_scale", (rows, columns // group), ("BF16",), "experts", 0, share
        )
        yield Expected(f"{at}{name}.weight_shape", (2,), ("I32", "I64"), "experts", 0, share)


def _mlp(at: str, hidden: int, inner: int, part: Part) -> Iterator[Expected]:
    yield _plain(f"{at}gate_proj.weight", (inner, hidden), part)
    yield _plain(f"{at}up_proj.weight", (inner, hidden), part)
    yield _plain(f"{at}down_proj.weight", (hidden, inner), part)


def _plain(name: str, shape: tuple[int, ...], part: Part, active: float = 1.0) -> Expected:
    weights = 1
    for size in shape:
        weights *= size
    return Expected(name, shape, FLOATS, part, weights, active)
