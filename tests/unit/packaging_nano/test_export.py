"""The exported folder holds what the training network computes, as the engine reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from nano.config import NanoConfig
from nano.export import export
from nano.model import Groups, Nano
from nano.rollout import as_exported
from nano.text import Vocabulary

from engine.checkpoint.report import inspect_folder
from engine.model.deepseek import Batch
from engine.model.loader import load_model


@pytest.fixture(scope="module")
def network(model_folder: Path) -> tuple[Nano, Vocabulary]:
    torch.manual_seed(0)
    vocabulary = Vocabulary(model_folder / "tiktoken.model")
    model = Nano(NanoConfig(vocab_size=vocabulary.size, num_hidden_layers=3))
    with torch.no_grad():
        model.lm_head.weight.mul_(40)  # logits of order one, so that differences would show
        for moe in model.moes():
            moe.e_score_correction_bias.uniform_(-0.1, 0.1)
    return model, vocabulary


def test_engine_computes_the_same_logits(network: tuple[Nano, Vocabulary], tmp_path: Path) -> None:
    model, vocabulary = network
    export(model, vocabulary, tmp_path)
    engine = load_model(tmp_path, dtype=torch.float32, experts="reference", threads=1)
    try:
        ids = torch.randint(0, vocabulary.size, (48,))
        cache = engine.new_cache(64)
        ours = engine.forward(Batch([(cache, ids.tolist())]), all_logits=True)
    finally:
        engine.close()
    with torch.no_grad():
        expected = as_exported(model)(ids, Groups(((1, 48),)))
    assert expected.std() > 0.3
    # float32 sums in another order; the norms and the router amplify it to about 1e-4
    assert (ours - expected).abs().max() < 2e-3


def test_shipped_folder_is_complete(model_folder: Path) -> None:
    report = inspect_folder(model_folder)
    assert list(report.problems) == []
    assert sum(f.stat().st_size for f in model_folder.iterdir()) < 40e6
