"""The oracle: transformers' DeepSeek-V3 in float32 on the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.checkpoint.mapped import MappedCheckpoint
from engine.checkpoint.names import expert_prefix
from engine.checkpoint.packed_int4 import unpack
from engine.config import ModelConfig, read_json
from engine.model.deepseek import Model
from engine.model.loader import load_model
from engine.tiny import Family, write_tiny


@dataclass(frozen=True)
class Pair:
    """Our model and the oracle's on one folder."""

    folder: Path
    ours: Model
    theirs: torch.nn.Module

    def oracle(self, ids: list[int]) -> Tensor:
        """The oracle's logits [T, V]."""
        with torch.inference_mode():
            logits: Tensor = self.theirs(torch.tensor([ids])).logits[0]
        return logits


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", params=["kimi_k2", "deepseek_v3", "moonlight"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """One pair a family: YaRN as in K2, groups as in V3, no query down-projection."""
    family: Family = request.param
    folder = write_tiny(tmp_path_factory.mktemp(family), seed=3, family=family)
    ours = load_model(folder, torch.float32, "reference")
    return Pair(folder, ours, oracle_of(folder, ours.config))


def oracle_of(folder: Path, config: ModelConfig) -> torch.nn.Module:
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    raw = read_json(folder / "config.json")
    for ours_only in ("quantization_config", "architectures", "model_type", "torch_dtype"):
        raw.pop(ours_only, None)
    model = DeepseekV3ForCausalLM(DeepseekV3Config(**raw, attn_implementation="eager"))
    missing, unexpected = model.load_state_dict(_state(folder, config), strict=False)
    assert not missing and not unexpected
    return model.float().eval()


def _state(folder: Path, config: ModelConfig) -> dict[str, Tensor]:
    """Our folder's tensors, experts dequantised and stacked as the oracle keeps them."""
    source = MappedCheckpoint.open(folder)
    state = {n: source.tensor(n).float() for n in source.names() if ".mlp.experts." not in n}

    def expert(layer: int, e: int, name: str) -> Tensor:
        at = f"{expert_prefix(config, layer, e)}{name}"
        packed = source.tensor(f"{at}.weight_packed").view(torch.uint8)
        return unpack(packed, source.tensor(f"{at}.weight_scale"))

    for layer in range(config.first_k_dense_replace, config.num_hidden_layers):
        at = f"model.layers.{layer}.mlp.experts"
        every = range(config.n_routed_experts)
        state[f"{at}.gate_up_proj"] = torch.stack(
            [torch.cat((expert(layer, e, "gate_proj"), expert(layer, e, "up_proj"))) for e in every]
        )
        state[f"{at}.down_proj"] = torch.stack([expert(layer, e, "down_proj") for e in every])
    return state
