"""Writes the trained model as a checkpoint folder of the published K2 layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from .config import GROUP_SIZE, NanoConfig
from .model import Nano
from .quant import pack
from .text import SPECIAL_TOKENS, TEMPLATE, Vocabulary

SHARDS = 2


def tensors(model: Nano) -> dict[str, torch.Tensor]:
    """Every stored tensor under its published name."""
    found: dict[str, torch.Tensor] = {}
    for name, value in model.state_dict().items():
        full = name if name.startswith("lm_head") else f"model.{name}"
        if ".mlp.experts." in name:
            stem = full.removesuffix(".weight")
            packed, scale = pack(value)
            found[f"{stem}.weight_packed"] = packed.contiguous()
            found[f"{stem}.weight_scale"] = scale.contiguous()
            found[f"{stem}.weight_shape"] = torch.tensor(value.shape, dtype=torch.int32)
        elif name.endswith("e_score_correction_bias"):
            # Published checkpoints keep it beside the router's weight.
            found[full.replace(".mlp.", ".mlp.gate.")] = value.float().clone()
        else:
            found[full] = value.bfloat16()
    return found


def configuration(cfg: NanoConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    """config.json"""
    shape = cfg.as_dict()
    return {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "kimi_k2",
        **shape,
        "num_key_value_heads": cfg.num_attention_heads,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": False,
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
        "norm_topk_prob": True,
        "n_group": 1,
        "topk_group": 1,
        "moe_layer_freq": 1,
        "num_nextn_predict_layers": 0,
        "rope_scaling": None,
        "initializer_range": 0.02,
        "use_cache": True,
        "torch_dtype": "bfloat16",
        "bos_token_id": vocabulary.special["[BOS]"],
        "eos_token_id": vocabulary.special["[EOS]"],
        "pad_token_id": vocabulary.pad,
        "quantization_config": {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "quantization_status": "compressed",
            "kv_cache_scheme": None,
            "ignore": [
                "lm_head",
                "re:.*self_attn.*",
                "re:.*shared_experts.*",
                "re:.*mlp\\.(gate|up|gate_up|down)_proj.*",
            ],
            "config_groups": {
                "group_0": {
                    "targets": ["Linear"],
                    "input_activations": None,
                    "output_activations": None,
                    "weights": {
                        "num_bits": 4,
                        "type": "int",
                        "symmetric": True,
                        "strategy": "group",
                        "group_size": GROUP_SIZE,
                        "dynamic": False,
                        "actorder": None,
                        "block_structure": None,
                        "observer": "minmax",
                        "observer_kwargs": {},
                    },
                }
            },
        },
    }


def tokenizer_configuration(cfg: NanoConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    """tokenizer_config.json"""
    return {
        "tokenizer_class": "TikTokenTokenizer",
        "added_tokens_decoder": {
            str(vocabulary.special[name]): {"content": name, "special": True}
            for name in SPECIAL_TOKENS
        },
        "bos_token": "[BOS]",
        "eos_token": "[EOS]",
        "unk_token": "[UNK]",
        "pad_token": "[PAD]",
        "clean_up_tokenization_spaces": False,
        "model_max_length": cfg.max_position_embeddings,
    }


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Indented JSON with a final newline."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def export(model: Nano, vocabulary: Vocabulary, folder: Path) -> int:
    """Writes the folder; returns the bytes of its weights. tiktoken.model is there already."""
    found = tensors(model)
    names = sorted(found)
    half = len(names) // SHARDS + 1
    index: dict[str, str] = {}
    total = 0
    for number in range(SHARDS):
        shard = {n: found[n] for n in names[number * half : (number + 1) * half]}
        title = f"model-{number + 1:05d}-of-{SHARDS:05d}.safetensors"
        save_file(shard, str(folder / title), metadata={"format": "pt"})
        (folder / title).chmod(0o644)
        index |= dict.fromkeys(shard, title)
        total += sum(t.nbytes for t in shard.values())
    write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": index},
    )
    write_json(folder / "config.json", configuration(model.cfg, vocabulary))
    write_json(folder / "tokenizer_config.json", tokenizer_configuration(model.cfg, vocabulary))
    write_json(
        folder / "generation_config.json",
        {
            "eos_token_id": [vocabulary.special["[EOS]"], vocabulary.end],
            "pad_token_id": vocabulary.pad,
            "temperature": 0.0,
            "do_sample": False,
            "max_new_tokens": 512,
        },
    )
    shutil.copyfile(TEMPLATE, folder / "chat_template.jinja")
    return total
