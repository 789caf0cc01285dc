"""A K2-layout folder in under a second, for tests, smoke checks and bug reports.

Everything a published checkpoint has, small: config, two shards and an index, INT4 experts, a
real tiktoken vocabulary with K2's control tokens, chat template and generation config. The weights
are random but scaled so that nothing degenerates: attention logits, router scores and output
logits have a spread of about one, so that a wrong formula shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.checkpoint.headers import INDEX
from engine.checkpoint.names import Expected, expected_tensors, prediction_tensors
from engine.checkpoint.packed_int4 import quantise
from engine.config import ModelConfig
from engine.making.shapes import INT4
from engine.making.vocabulary import CONTROL, word_ranks, write_json, write_text_files

Family = Literal["kimi_k2", "deepseek_v3", "moonlight"]


@dataclass(frozen=True, slots=True)
class TinyShape:
    """Sizes; the defaults make about 0.6 M parameters."""

    hidden: int = 64
    layers: int = 3
    heads: int = 4
    experts: int = 8
    top_k: int = 2
    inner: int = 32
    dense_inner: int = 96
    context: int = 4096
    predicts: bool = False
    """Whether a layer for multi-token prediction follows the last."""


def write_tiny(
    folder: Path,
    seed: int = 0,
    family: Family = "kimi_k2",
    quantised: bool = True,
    shape: TinyShape | None = None,
) -> Path:
    """Write a checkpoint and return its folder. The same arguments give the same bytes."""
    shape = shape or TinyShape()
    folder.mkdir(parents=True, exist_ok=True)
    ranks = word_ranks()
    control = {name: len(ranks) + i for i, name in enumerate(CONTROL)}
    raw = _config(family, shape, len(ranks) + len(CONTROL), quantised)
    write_json(folder / "config.json", raw)
    write_text_files(folder, ranks, control)
    config = ModelConfig.from_dict(raw)
    tensors = list(expected_tensors(config))
    if shape.predicts:
        tensors += prediction_tensors(config)
    _write_weights(folder, config, tensors, torch.Generator().manual_seed(seed))
    return folder


def _config(family: Family, shape: TinyShape, vocab: int, quantised: bool) -> dict[str, Any]:
    first = vocab - len(CONTROL)
    kimi = family == "kimi_k2"
    config: dict[str, Any] = {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "kimi_k2" if kimi else "deepseek_v3",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.dense_inner,
        "moe_intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "first_k_dense_replace": 1,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "q_lora_rank": None if family == "moonlight" else 48,
        "kv_lora_rank": 32,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 16,
        "n_routed_experts": shape.experts,
        "n_shared_experts": 2 if family == "moonlight" else 1,
        "num_experts_per_tok": shape.top_k,
        "n_group": 4 if family == "deepseek_v3" else 1,
        "topk_group": 2 if family == "deepseek_v3" else 1,
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
        "norm_topk_prob": True,
        "routed_scaling_factor": {"kimi_k2": 2.827, "deepseek_v3": 2.5, "moonlight": 2.446}[family],
        "rms_norm_eps": 1e-5 if kimi or family == "moonlight" else 1e-6,
        "rope_theta": 10000.0 if family == "deepseek_v3" else 50000.0,
        "max_position_embeddings": shape.context,
        "vocab_size": vocab,
        "hidden_act": "silu",
        "attention_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": first,
        "eos_token_id": first + CONTROL.index("<|im_end|>"),
        "pad_token_id": first + CONTROL.index("[PAD]"),
        "torch_dtype": "bfloat16",
    }
    if shape.predicts:
        config["num_nextn_predict_layers"] = 1
    if family != "moonlight":
        beta_fast = 1.0 if kimi else 32.0
        config["rope_scaling"] = {
            "type": "yarn",
            "factor": 64.0 if kimi else 40.0,
            "original_max_position_embeddings": max(shape.context // 64, 16),
            "beta_fast": beta_fast,
            "beta_slow": 1.0,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
        }
    if quantised:
        config["quantization_config"] = INT4
    return config


def _write_weights(
    folder: Path, config: ModelConfig, items: list[Expected], rng: torch.Generator
) -> None:
    shards: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
    pending: tuple[Tensor, Tensor] | None = None
    half = config.num_hidden_layers // 2
    for item in items:
        if item.name.endswith("weight_packed"):
            rows, words = item.shape
            packed, scale = quantise(_normal((rows, words * 8), 1 / math.sqrt(words * 8), rng))
            pending = packed.view(torch.int32), scale  # uint8 [O, I/2] -> int32 [O, I/8]
            tensor = pending[0]
        elif item.name.endswith("weight_scale") and pending is not None:
            tensor = pending[1]
        elif item.name.endswith("weight_shape") and pending is not None:
            tensor = torch.tensor([pending[0].shape[0], pending[0].shape[1] * 8], dtype=torch.int32)
        else:
            tensor = _dense(item, rng)
        shards[_shard_of(item.name, half)][item.name] = tensor
    names = [f"model-{i + 1:05}-of-00002.safetensors" for i in range(2)]
    for name, tensors in zip(names, shards, strict=True):
        save_file(tensors, folder / name, metadata={"format": "pt"})
    weight_map = {t: name for name, tensors in zip(names, shards, strict=True) for t in tensors}
    total = sum(t.nbytes for tensors in shards for t in tensors.values())
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})


def _shard_of(name: str, half: int) -> int:
    if "embed_tokens" in name:
        return 0
    _, found, rest = name.partition("layers.")
    return 1 if not found or int(rest.split(".", 1)[0]) > half else 0


def _dense(item: Expected, rng: torch.Generator) -> Tensor:
    if item.name.endswith("e_score_correction_bias"):
        return _normal(item.shape, 0.2, rng)
    if item.part == "norms":
        return (1 + _normal(item.shape, 0.1, rng)).bfloat16()
    if "embed_tokens" in item.name:
        return _normal(item.shape, 1.0, rng).bfloat16()
    gain = 1.6 if "q_b_proj" in item.name or "q_proj" in item.name else 1.0
    return _normal(item.shape, gain / math.sqrt(item.shape[-1]), rng).bfloat16()


def _normal(shape: tuple[int, ...], sigma: float, rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng) * sigma
