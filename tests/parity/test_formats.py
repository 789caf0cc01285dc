"""Storage formats and families against transformers: FP8 blocks, plain and INT4 experts, GLM.

Folders come from `engine.making`; the oracle gets the same weights, widened by arithmetic that is
written out here in float64. Tolerances as in test_logits: both sides compute in float32.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from engine.checkpoint.fp8_blocks import dequantise
from engine.checkpoint.mapped import MappedCheckpoint
from engine.config import ModelConfig
from engine.making.filling import e4m3_values
from engine.making.shapes import read_shape
from engine.making.writer import Choice, write_model
from engine.model.deepseek import Batch
from engine.model.loader import ExpertChoice, load_model

TOLERANCE = 2e-4
SMALL = {
    "hidden_size": 160,
    "intermediate_size": 192,
    "moe_intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "qk_nope_head_dim": 24,
    "qk_rope_head_dim": 16,
    "v_head_dim": 40,
    "kv_lora_rank": 48,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "vocab_size": 600,
    "max_position_embeddings": 4096,
}


def fp8_values(weight: Tensor, scale: Tensor) -> NDArray[np.float64]:
    """[out, in] by the format's definition: a table of 256 codes, times the block's scale."""
    positive = e4m3_values().astype(np.float64)
    table = np.concatenate([positive, -positive])
    wide = np.kron(scale.double().numpy(), np.ones((128, 128)))
    rows, columns = weight.shape
    product: NDArray[np.float64] = table[weight.numpy()] * wide[:rows, :columns]
    return product


def int4_values(packed: Tensor, scale: Tensor) -> NDArray[np.float64]:
    """int32 words [out, in/8] and bf16 scales [out, in/32] -> [out, in]."""
    words = packed.numpy().view(np.uint32)[..., None] >> (4 * np.arange(8, dtype=np.uint32))
    values = (words & 15).astype(np.float64).reshape(len(words), -1) - 8
    product: NDArray[np.float64] = values * scale.double().numpy().repeat(32, 1)
    return product


@given(
    rows=st.integers(1, 1300),
    columns=st.integers(1, 300),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=30, deadline=None)
def test_fp8_blocks_widen_to_the_nearest_float32(rows: int, columns: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    weight = torch.randint(0, 255, (rows, columns), generator=rng, dtype=torch.uint8)
    weight[weight == 0x7F] = 0  # not a number
    scale = torch.rand(-(-rows // 128), -(-columns // 128), generator=rng)
    got = dequantise(weight, scale)
    # One product, rounded once: by half a unit in the last place at most.
    want = fp8_values(weight, scale)
    assert np.abs(got.double().numpy() - want).max() <= np.abs(want).max() * 2.0**-24
    assert torch.equal(dequantise(weight, scale, torch.bfloat16), got.bfloat16())


def test_fp8_blocks_widen_as_transformers_do() -> None:
    theirs = pytest.importorskip("transformers.integrations.finegrained_fp8")
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(300, 200, generator=rng).to(torch.float8_e4m3fn)
    scale = torch.rand(3, 2, generator=rng)
    want = theirs._dequantize_fp8_weight(weight, scale, [128, 128], torch.float32)
    assert torch.equal(dequantise(weight.view(torch.uint8), scale), want)


def small_folder(folder: Path, shape: str, experts: Any) -> Path:
    raw = read_shape(shape, layers=3, experts=experts)
    raw.update(SMALL, first_k_dense_replace=1)
    if raw["q_lora_rank"]:
        raw["q_lora_rank"] = 56
    if raw["n_group"] > 1:
        raw.update(n_group=4, topk_group=2)
    return write_model(raw, folder / "model", Choice(seed=2))


def oracle(folder: Path) -> torch.nn.Module:
    """transformers' network of the family on the folder's weights."""
    import transformers

    raw = json.loads((folder / "config.json").read_text())
    glm = raw["model_type"] == "glm4_moe_lite"
    for ours_only in ("quantization_config", "architectures", "model_type", "torch_dtype"):
        raw.pop(ours_only, None)
    name = "Glm4MoeLite" if glm else "DeepseekV3"
    config = getattr(transformers, f"{name}Config")(**raw, attn_implementation="eager")
    model: torch.nn.Module = getattr(transformers, f"{name}ForCausalLM")(config)
    missing, unexpected = model.load_state_dict(oracle_state(folder), strict=False)
    assert not missing and not unexpected
    return model.float().eval()


def oracle_state(folder: Path) -> dict[str, Tensor]:
    source, config = MappedCheckpoint.open(folder), ModelConfig.from_folder(folder)

    def wide(stem: str) -> Tensor:
        if f"{stem}_packed" in source:
            packed, scale = source.tensor(f"{stem}_packed"), source.tensor(f"{stem}_scale")
            return torch.from_numpy(int4_values(packed, scale)).float()
        tensor = source.tensor(stem)
        if tensor.dtype == torch.float8_e4m3fn:
            scale = source.tensor(f"{stem}_scale_inv")
            return torch.from_numpy(fp8_values(tensor.view(torch.uint8), scale)).float()
        return tensor.float()

    helpers = ("_packed", "_scale", "_shape", "_scale_inv")
    state = {
        n: wide(n) for n in source.names() if ".mlp.experts." not in n and not n.endswith(helpers)
    }
    for layer in range(config.first_k_dense_replace, config.num_hidden_layers):
        at = f"model.layers.{layer}.mlp.experts"
        matrices = {
            name: torch.stack([wide(f"{at}.{e}.{name}.weight") for e in range(8)])
            for name in ("gate_proj", "up_proj", "down_proj")
        }
        both = (matrices["gate_proj"], matrices["up_proj"])
        state[f"{at}.gate_up_proj"] = torch.cat(both, 1)  # 2 x [E, I, H] -> [E, 2I, H]
        state[f"{at}.down_proj"] = matrices["down_proj"]
    return state


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize(
    ("shape", "experts"),
    [
        ("deepseek-v3", "published"),
        ("glm-4.7-flash", "published"),
        ("glm-4.7-flash", "int4"),
        ("moonlight-16b-a3b", "published"),
    ],
)
def test_logits_are_the_oracle_s(
    tmp_path: Path, shape: str, experts: str, backend: ExpertChoice
) -> None:
    folder = small_folder(tmp_path, shape, experts)
    ids = torch.randint(0, 600, (40,), generator=torch.Generator().manual_seed(1)).tolist()
    with torch.inference_mode():
        theirs: Tensor = oracle(folder)(torch.tensor([ids])).logits[0]
    assert 0.5 < theirs.std() < 2, "flat logits make every comparison pass"
    ours = load_model(folder, torch.float32, backend, threads=2)
    try:
        cache = ours.new_cache()
        prompt = ours.forward(Batch([(cache, ids[:32])]), all_logits=True)
        steps = [ours.forward(Batch([(cache, [token])]))[0] for token in ids[32:]]
    finally:
        ours.close()
    assert (torch.cat((prompt, torch.stack(steps))) - theirs).abs().max() <= TOLERANCE
