"""The layer for multi-token prediction, against transformers' layer fed as the report says."""

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
from engine.model.deepseek import Batch, Model
from engine.model.loader import load_model
from engine.tiny import TinyShape, write_tiny

IDS = [(11 + 37 * i) % 240 for i in range(90)]


class Oracle:
    """Two of transformers' models in float32: the main one, and a single layer for prediction."""

    def __init__(self, folder: Path) -> None:
        from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

        config = ModelConfig.from_folder(folder)
        raw = read_json(folder / "config.json")
        for ours_only in ("quantization_config", "architectures", "model_type", "torch_dtype"):
            raw.pop(ours_only)
        self._source = MappedCheckpoint.open(folder)
        self._config = config
        last = config.num_hidden_layers
        own = f"model.layers.{last}."
        main = self._state(range(last))
        self._plain = {n: self._source.tensor(n).float() for n in self._source.names() if own in n}
        self._main = _filled(
            DeepseekV3ForCausalLM(DeepseekV3Config(**raw, attn_implementation="eager")),
            main,
        )
        single = raw | {"num_hidden_layers": 1, "first_k_dense_replace": 0}
        state = {
            n.replace(own, "model.layers.0."): t
            for n, t in self._state([last]).items()
            if own in n and "shared_head" not in n
        }
        state["model.norm.weight"] = self._plain[f"{own}shared_head.norm.weight"]
        state["lm_head.weight"] = self._plain[f"{own}shared_head.head.weight"]
        state["model.embed_tokens.weight"] = main["model.embed_tokens.weight"]
        for name in ("enorm", "hnorm", "eh_proj"):
            state.pop(f"model.layers.0.{name}.weight")
        self._single = _filled(
            DeepseekV3ForCausalLM(DeepseekV3Config(**single, attn_implementation="eager")), state
        )
        self._own = own

    def _state(self, layers: range | list[int]) -> dict[str, Tensor]:
        source, config = self._source, self._config
        state = {
            n: source.tensor(n).float()
            for n in source.names()
            if ".mlp.experts." not in n
            and (".layers." not in n or int(n.split(".layers.")[1].split(".")[0]) in layers)
        }

        def expert(layer: int, e: int, name: str) -> Tensor:
            at = f"{expert_prefix(config, layer, e)}{name}"
            packed = source.tensor(f"{at}.weight_packed").view(torch.uint8)
            return unpack(packed, source.tensor(f"{at}.weight_scale"))

        for layer in layers:
            if not config.is_moe(layer):
                continue
            at, every = f"model.layers.{layer}.mlp.experts", range(config.n_routed_experts)
            pairs = [(expert(layer, e, "gate_proj"), expert(layer, e, "up_proj")) for e in every]
            state[f"{at}.gate_up_proj"] = torch.stack([torch.cat(pair) for pair in pairs])
            state[f"{at}.down_proj"] = torch.stack([expert(layer, e, "down_proj") for e in every])
        return state

    @torch.inference_mode()
    def drafts(self, ids: list[int], following: int, most: int) -> list[int]:
        """Tokens after `following`, which comes after `ids`; each of them fed back."""
        hidden = self._main.model(torch.tensor([ids])).last_hidden_state[0]  # [T, H]
        tokens = [*ids[1:], following]
        drafted: list[int] = []
        for _ in range(most):
            embedded = self._main.model.embed_tokens(torch.tensor(tokens))  # [T, H]
            joined = torch.cat((self._norm("enorm", embedded), self._norm("hnorm", hidden)), -1)
            x = joined @ self._plain[f"{self._own}eh_proj.weight"].T  # [T, 2H] -> [T, H]
            out = self._single(inputs_embeds=x[None], output_hidden_states=True)
            drafted.append(int(out.logits[0, -1].argmax()))
            tokens.append(drafted[-1])
            hidden = torch.cat((hidden, out.hidden_states[-1][0, -1:]))
        return drafted

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight = self._plain[f"{self._own}{name}.weight"]
        return weight * x / (x.square().mean(-1, keepdim=True) + self._config.rms_norm_eps).sqrt()


def _filled(model: torch.nn.Module, state: dict[str, Tensor]) -> torch.nn.Module:
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not missing and not unexpected
    return model.float().eval()


@dataclass
class Both:
    folder: Path
    ours: Model
    oracle: Oracle


@pytest.fixture(scope="module", params=["deepseek_v3", "kimi_k2"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Both]:
    shape = TinyShape(layers=2, predicts=True)
    folder = write_tiny(tmp_path_factory.mktemp("mtp"), 3, request.param, shape=shape)
    ours = load_model(folder, torch.float32, "native", threads=1, predict=True)
    yield Both(folder, ours, Oracle(folder))
    ours.close()


@pytest.mark.parametrize("chunks", [(90,), (64, 26), (70, 1, 1, 18)])
def test_drafts_are_those_of_the_report(both: Both, chunks: tuple[int, ...]) -> None:
    """Over prompts in one piece and in several, to the ends of pages and beyond."""
    assert both.ours.predictor is not None
    cache, done = both.ours.new_cache(256), 0
    for count in chunks:
        both.ours.forward(Batch([(cache, IDS[done : done + count])]))
        done += count
        for following in (5, 77, 200):
            drafts = both.ours.predictor.draft(cache, following, 3)
            assert drafts == both.oracle.drafts(IDS[:done], following, 3)


def test_rejected_tokens_leave_nothing_behind(both: Both) -> None:
    assert both.ours.predictor is not None
    cache = both.ours.new_cache(256)
    both.ours.forward(Batch([(cache, IDS[:40])]))
    both.ours.forward(Batch([(cache, [IDS[40], 7, 8, 9])], [4]))
    cache.truncate(41)
    drafts = both.ours.predictor.draft(cache, IDS[41], 2)
    assert drafts == both.oracle.drafts(IDS[:41], IDS[41], 2)
    both.ours.forward(Batch([(cache, IDS[41:60])]))
    drafts = both.ours.predictor.draft(cache, 3, 2)
    assert drafts == both.oracle.drafts(IDS[:60], 3, 2)


def test_two_sequences_in_a_step_keep_apart(both: Both) -> None:
    assert both.ours.predictor is not None
    one, two = both.ours.new_cache(256), both.ours.new_cache(256)
    both.ours.forward(Batch([(one, IDS[:30]), (two, IDS[50:70])]))
    both.ours.forward(Batch([(one, IDS[30:31]), (two, IDS[70:73])]))
    assert both.ours.predictor.draft(one, 9, 2) == both.oracle.drafts(IDS[:31], 9, 2)
    assert both.ours.predictor.draft(two, 9, 2) == both.oracle.drafts(IDS[50:73], 9, 2)


def test_logits_are_the_same_with_the_layer_and_without(both: Both) -> None:
    plain = load_model(both.folder, torch.float32, "native", threads=1)
    try:
        assert plain.predictor is None
        ours = both.ours.forward(Batch([(both.ours.new_cache(256), IDS)]), all_logits=True)
        theirs = plain.forward(Batch([(plain.new_cache(256), IDS)]), all_logits=True)
        assert torch.equal(ours, theirs)
    finally:
        plain.close()
