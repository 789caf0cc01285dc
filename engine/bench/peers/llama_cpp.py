"""A GGUF of random Q4_0 weights in the shape that a config.json describes, for llama.cpp.

``python llama_cpp.py CONFIG OUT``, run by a Python that has gguf and numpy; nothing else of this
project is imported. The architecture is ``deepseek2``; there is no vocabulary, as for measuring
only its size counts. Routers and norms stay float32, as llama.cpp's own quantising leaves them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf  # type: ignore[import-not-found]  # of the Python that runs this
import numpy as np
from numpy.typing import NDArray

_BLOCK, _BLOCK_BYTES = 32, 18
_POOL_BLOCKS = 1 << 20
_NIBBLE_SPREAD = 4.64


@dataclass(frozen=True, slots=True)
class _Tensor:
    """``shape`` has the columns last; Q4_0 unless `wide`."""

    name: str
    shape: tuple[int, ...]
    wide: bool = False


def main() -> int:
    """Write the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path, help="a config.json of the DeepSeek-V3 family")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    config = json.loads(args.config.read_text("utf-8"))
    tensors = list(_tensors(config))
    writer = gguf.GGUFWriter(None, "deepseek2")
    _describe(writer, config)
    for tensor in tensors:
        _announce(writer, tensor)
    writer.write_header_to_file(args.out)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    rng = np.random.default_rng(0)
    pool = rng.integers(0, 256, (_POOL_BLOCKS, _BLOCK_BYTES), np.uint8)
    for tensor in tensors:
        writer.write_tensor_data(_values(rng, tensor) if tensor.wide else _blocks(pool, tensor))
    writer.close()
    return 0


def _describe(writer: Any, config: dict[str, Any]) -> None:
    rank, rope = config["kv_lora_rank"], config["qk_rope_head_dim"]
    writer.add_name("random")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_leading_dense_block_count(config["first_k_dense_replace"])
    writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    writer.add_expert_count(config["n_routed_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_shared_count(config["n_shared_experts"])
    writer.add_expert_weights_scale(config["routed_scaling_factor"])
    writer.add_expert_weights_norm(config["norm_topk_prob"])
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    writer.add_head_count(config["num_attention_heads"])
    # Absorbed attention: one key-value head, as wide as the latent.
    writer.add_head_count_kv(1)
    writer.add_key_length(rank + rope)
    writer.add_value_length(rank)
    writer.add_key_length_mla(config["qk_nope_head_dim"] + rope)
    writer.add_value_length_mla(config["v_head_dim"])
    writer.add_kv_lora_rank(rank)
    if config.get("q_lora_rank"):
        writer.add_q_lora_rank(config["q_lora_rank"])
    writer.add_rope_dimension_count(rope)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])


def _tensors(config: dict[str, Any]) -> Iterator[_Tensor]:
    hidden, vocab = config["hidden_size"], config["vocab_size"]
    yield _Tensor("token_embd.weight", (vocab, hidden))
    yield _Tensor("output_norm.weight", (hidden,), wide=True)
    yield _Tensor("output.weight", (vocab, hidden))
    for layer in range(config["num_hidden_layers"]):
        at = f"blk.{layer}."
        for part in (_attention(config), _feed_forward(config, layer)):
            for tensor in part:
                yield _Tensor(at + tensor.name, tensor.shape, tensor.wide)


def _attention(config: dict[str, Any]) -> Iterator[_Tensor]:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    nope, rope = config["qk_nope_head_dim"], config["qk_rope_head_dim"]
    value, rank, query = config["v_head_dim"], config["kv_lora_rank"], config.get("q_lora_rank")
    yield _Tensor("attn_norm.weight", (hidden,), wide=True)
    if query:
        yield _Tensor("attn_q_a.weight", (query, hidden))
        yield _Tensor("attn_q_a_norm.weight", (query,), wide=True)
        yield _Tensor("attn_q_b.weight", (heads * (nope + rope), query))
    else:
        yield _Tensor("attn_q.weight", (heads * (nope + rope), hidden))
    yield _Tensor("attn_kv_a_mqa.weight", (rank + rope, hidden))
    yield _Tensor("attn_kv_a_norm.weight", (rank,), wide=True)
    yield _Tensor("attn_k_b.weight", (heads, rank, nope))
    yield _Tensor("attn_v_b.weight", (heads, value, rank))
    yield _Tensor("attn_output.weight", (hidden, heads * value))
    yield _Tensor("ffn_norm.weight", (hidden,), wide=True)


def _feed_forward(config: dict[str, Any], layer: int) -> Iterator[_Tensor]:
    hidden, experts = config["hidden_size"], config["n_routed_experts"]
    inner = config["moe_intermediate_size"]
    if layer < config["first_k_dense_replace"]:
        yield from _gated("", (), hidden, config["intermediate_size"])
        return
    yield _Tensor("ffn_gate_inp.weight", (experts, hidden), wide=True)
    yield _Tensor("exp_probs_b.bias", (experts,), wide=True)
    yield from _gated("_exps", (experts,), hidden, inner)
    yield from _gated("_shexp", (), hidden, inner * config["n_shared_experts"])


def _gated(suffix: str, lead: tuple[int, ...], hidden: int, inner: int) -> Iterator[_Tensor]:
    yield _Tensor(f"ffn_gate{suffix}.weight", (*lead, inner, hidden))
    yield _Tensor(f"ffn_up{suffix}.weight", (*lead, inner, hidden))
    yield _Tensor(f"ffn_down{suffix}.weight", (*lead, hidden, inner))


def _announce(writer: Any, tensor: _Tensor) -> None:
    if tensor.wide:
        size = 4 * int(np.prod(tensor.shape))
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), size)
        return
    row = tensor.shape[-1] // _BLOCK * _BLOCK_BYTES
    shape = (*tensor.shape[:-1], row)
    writer.add_tensor_info(
        tensor.name,
        shape,
        np.dtype(np.uint8),
        int(np.prod(shape)),
        raw_dtype=gguf.GGMLQuantizationType.Q4_0,
    )


def _values(rng: np.random.Generator, tensor: _Tensor) -> NDArray[np.float32]:
    noise = rng.standard_normal(tensor.shape, np.float32)
    if tensor.name.endswith("norm.weight"):
        return 1 + 0.1 * noise
    return noise * np.float32(0.2 if tensor.name.endswith(".bias") else tensor.shape[-1] ** -0.5)


def _blocks(pool: NDArray[np.uint8], tensor: _Tensor) -> NDArray[np.uint8]:
    """Blocks of a half scale and 32 nibbles; all nibbles from the pool, again and again."""
    count = int(np.prod(tensor.shape)) // _BLOCK
    blocks = np.resize(pool, (count, _BLOCK_BYTES))
    usual = 1.0 if "embd" in tensor.name else tensor.shape[-1] ** -0.5
    scale = np.float16(usual / _NIBBLE_SPREAD)
    blocks[:, :2] = np.frombuffer(scale.tobytes(), np.uint8)
    return blocks


if __name__ == "__main__":
    sys.exit(main())
