"""Models and machines of every kind, for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from engine.config import ModelConfig
from engine.placement.footprint import Footprint, footprint
from engine.placement.hardware import Accelerator, Hardware

INT4 = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {
        "group_0": {"weights": {"num_bits": 4, "group_size": 32, "symmetric": True, "type": "int"}}
    },
}
FP8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}


def config(**changes: Any) -> ModelConfig:
    """A model of some billion weights, like the family's smaller members."""
    raw: dict[str, Any] = {
        "model_type": "deepseek_v3",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "moe_intermediate_size": 1024,
        "num_hidden_layers": 12,
        "first_k_dense_replace": 1,
        "num_attention_heads": 16,
        "q_lora_rank": None,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "n_routed_experts": 64,
        "n_shared_experts": 1,
        "num_experts_per_tok": 6,
        "vocab_size": 64_000,
        "max_position_embeddings": 65_536,
        "eos_token_id": 1,
        "quantization_config": INT4,
    }
    return ModelConfig.from_dict(raw | changes)


@st.composite
def footprints(draw: st.DrawFn) -> Footprint:
    layers = draw(st.integers(1, 61))
    experts = draw(st.sampled_from([8, 64, 256]))
    hidden = draw(st.sampled_from([256, 2048, 7168]))
    return footprint(
        config(
            hidden_size=hidden,
            intermediate_size=draw(st.sampled_from([2, 3])) * hidden,
            moe_intermediate_size=draw(st.sampled_from([128, 1408, 2048])),
            num_hidden_layers=layers,
            first_k_dense_replace=draw(st.integers(0, layers)),
            num_attention_heads=draw(st.sampled_from([4, 16, 64])),
            q_lora_rank=draw(st.sampled_from([None, 768])),
            n_routed_experts=experts,
            num_experts_per_tok=draw(st.integers(1, 8)),
            n_shared_experts=draw(st.integers(0, 2)),
            tie_word_embeddings=draw(st.booleans()),
            max_position_embeddings=draw(st.sampled_from([1024, 8192, 262_144])),
            quantization_config=draw(st.sampled_from([None, INT4, FP8])),
        )
    )


@st.composite
def accelerators(draw: st.DrawFn, memory: float) -> Accelerator:
    unified = draw(st.booleans())
    return Accelerator(
        name="card",
        memory_gib=draw(st.floats(0.5, memory if unified else 96.0)),
        read_gb_per_s=draw(st.floats(50, 3000)),
        bus_gb_per_s=draw(st.floats(2, 60)),
        bf16_tflops=draw(st.floats(1, 400)),
        unified=unified,
    )


@st.composite
def hardwares(draw: st.DrawFn, cards: int = 2) -> Hardware:
    memory = draw(st.floats(2.0, 1200.0))
    threads = sorted(draw(st.sets(st.integers(1, 64), min_size=1, max_size=4)))
    # Slower than any memory: a disk that is faster would make missing experts a gain.
    disk = draw(st.floats(0.1, 8.0))
    limits = st.none() | st.floats(1.0, memory)
    return Hardware(
        name="machine",
        isa=draw(st.sampled_from(["scalar", "avx2", "avx512_vnni", "amx", "neon", "new"])),
        cores=max(threads),
        memory_gib=memory,
        available_gib=memory * draw(st.floats(0.5, 1.0)),
        limit_gib=draw(limits),
        read_gb_per_s={n: draw(st.floats(10.0, 600.0)) for n in threads},
        int8_gops={n: draw(st.floats(50.0, 50_000.0)) for n in threads},
        disk_gb_per_s=disk,
        loop_us=draw(st.none() | st.floats(10.0, 1000.0)),
        numa_nodes=draw(st.integers(1, 2)),
        accelerators=tuple(draw(accelerators(memory)) for _ in range(draw(st.integers(0, cards)))),
    )
