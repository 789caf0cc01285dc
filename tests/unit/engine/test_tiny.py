"""The generated checkpoint: the same from the same seed, complete, and usable."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from engine.checkpoint.report import inspect_folder
from engine.model.deepseek import Batch
from engine.model.loader import load_model
from engine.text.chat_template import ChatTemplate
from engine.text.tokenizer import Tokenizer
from engine.tiny import Family, TinyShape, write_tiny

FAMILIES: tuple[Family, ...] = ("kimi_k2", "deepseek_v3", "moonlight")
SMALL = TinyShape(layers=2, experts=4)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_a_seed_decides_every_byte(tmp_path: Path) -> None:
    one, same, other = (
        digests(write_tiny(tmp_path / name, seed, shape=SMALL))
        for name, seed in (("one", 5), ("same", 5), ("other", 6))
    )
    assert one == same
    changed = {name for name in one if one[name] != other[name]}
    assert changed == {name for name in one if name.endswith(".safetensors")}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("quantised", [True, False], ids=["int4", "plain"])
def test_each_family_is_complete_and_computes(
    tmp_path: Path, family: Family, quantised: bool
) -> None:
    shape = TinyShape(layers=2, experts=8)
    folder = write_tiny(tmp_path, family=family, quantised=quantised, shape=shape)
    report = inspect_folder(folder)
    assert report.complete, report.problems
    assert report.family == ("kimi_k2" if family == "kimi_k2" else "deepseek_v3")
    assert (report.shards, report.layers, report.routed_experts) == (2, 2, 8)
    assert report.expert_format == ("int4 g32" if quantised else "plain")
    model = load_model(folder, torch.float32, "reference")
    try:
        logits = model.forward(Batch([(model.new_cache(), [1, 2, 3]), (model.new_cache(), [9])]))
    finally:
        model.close()
    assert logits.shape == (2, model.config.vocab_size)
    assert logits.isfinite().all()
    assert logits.std() > 0.3, "flat logits would make every test on this model blind"
    assert not torch.equal(logits[0], logits[1])


def test_text_files_fit_the_weights(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path, shape=SMALL)
    tokenizer = Tokenizer.from_folder(folder)
    ChatTemplate.from_folder(folder, tokenizer)
    model = load_model(folder, torch.float32, "reference")
    model.close()
    assert tokenizer.vocab_size == model.config.vocab_size
    assert set(model.config.eos_ids) <= tokenizer.eos_ids
    ids = tokenizer.encode("the tool call is the answer")
    assert len(ids) < 12, "the vocabulary holds words, not bytes alone"
    assert b"".join(tokenizer.token_bytes(i) for i in ids) == b"the tool call is the answer"
