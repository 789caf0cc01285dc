"""Small shapes of caches."""

from __future__ import annotations

from engine.config import ModelConfig


def config(layers: int = 2, rank: int = 4, rope: int = 2, context: int = 1024) -> ModelConfig:
    """A model of which only the cache matters."""
    return ModelConfig.from_dict(
        {
            "model_type": "kimi_k2",
            "hidden_size": 8,
            "intermediate_size": 8,
            "moe_intermediate_size": 8,
            "num_hidden_layers": layers,
            "num_attention_heads": 1,
            "kv_lora_rank": rank,
            "qk_nope_head_dim": 2,
            "qk_rope_head_dim": rope,
            "v_head_dim": 2,
            "n_routed_experts": 2,
            "num_experts_per_tok": 1,
            "vocab_size": 100,
            "max_position_embeddings": context,
        }
    )
