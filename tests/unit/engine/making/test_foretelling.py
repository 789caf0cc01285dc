"""The model of known drafts: what it says, and how often its prediction layer is right."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.bench.prediction import prediction_figures
from engine.config import ModelConfig
from engine.making.foretelling import Foretelling, foretelling_shape, write_foretelling
from engine.model.deepseek import Batch
from engine.model.loader import load_model

SIZES = {
    "hidden_size": 256,
    "intermediate_size": 128,
    "moe_intermediate_size": 64,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "q_lora_rank": 64,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 1024,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "model"
    return write_foretelling(out, foretelling_shape(2, SIZES), right=0.8, seed=3)


def test_both_heads_say_what_is_known(folder: Path) -> None:
    source = Foretelling(ModelConfig.from_folder(folder), right=0.8, seed=3)
    model = load_model(folder, torch.float32, "native", threads=1, predict=True)
    assert model.predictor is not None
    right = {0: 0, 1200: 0}
    for first in right:
        cache, fresh = model.new_cache(256), [first, first + 3]
        for _ in range(100):
            said = int(model.forward(Batch([(cache, fresh)]))[0].argmax())
            assert said == source.after[fresh[-1]]
            right[first] += model.predictor.draft(cache, said, 1) == [source.after[said]]
            fresh = [said]
    assert 65 <= right[0] <= 95 and right[1200] == 0
    model.close()


def test_figures_of_drafts(folder: Path) -> None:
    figures = list(prediction_figures(folder, threads=1, seconds=0.0, rounds=3, tokens=80))
    assert [f.name for f in figures] == ["mtp.right", "mtp.wrong"]
    assert all(f.value > 0 and "drafts accepted in 320 tokens" in f.note for f in figures)
