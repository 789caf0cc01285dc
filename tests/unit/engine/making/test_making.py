"""Random checkpoints of real shapes: complete, scaled, repeatable, and never half there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.checkpoint.mapped import MappedCheckpoint
from engine.checkpoint.names import expected_tensors
from engine.checkpoint.report import inspect_folder
from engine.config import ModelConfig
from engine.errors import RequestError, ResourceError, SelenographError
from engine.making.filling import bf16, e4m3, e4m3_values
from engine.making.layout import nbytes
from engine.making.shapes import read_shape, shape_names
from engine.making.vocabulary import CONTROL, padded_vocabulary, word_ranks
from engine.making.writer import Choice, write_model
from engine.text.chat_template import ChatTemplate
from engine.text.tokenizer import Tokenizer

SMALL = {
    "hidden_size": 128,
    "intermediate_size": 320,
    "moe_intermediate_size": 160,
    "num_attention_heads": 4,
    "kv_lora_rank": 64,
    "n_routed_experts": 8,
    "vocab_size": 800,
}


def small(shape: str, **options: Any) -> dict[str, Any]:
    """A named shape with two layers and small sizes, ragged against blocks of 128."""
    raw = read_shape(shape, layers=2, **options)
    groups = min(raw["n_group"], 4)
    top_k = min(raw["num_experts_per_tok"], 4)
    raw.update(SMALL, n_group=groups, num_experts_per_tok=top_k, topk_group=min(2, groups))
    if raw["first_k_dense_replace"] > 1:
        raw["first_k_dense_replace"] = 1
    if raw["q_lora_rank"]:
        raw["q_lora_rank"] = 96
    return raw


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.mark.parametrize(
    ("shape", "parameters", "active", "disk"),
    [
        ("k2-thinking", 1026.4e9, 32e9, 594e9),
        ("deepseek-v3", 671.0e9, 37e9, 675e9),
        ("glm-4.7-flash", 29.9e9, 3.2e9, 60e9),
        ("moonlight-16b-a3b", 15.96e9, 2.8e9, 32e9),
    ],
)
def test_named_shapes_have_the_published_size(
    shape: str, parameters: float, active: float, disk: float
) -> None:
    config = ModelConfig.from_dict(read_shape(shape))
    items = list(expected_tensors(config))
    assert sum(i.weights for i in items) == pytest.approx(parameters, rel=0.002)
    # Publishers round, and differ in whether they count the embedding.
    assert sum(i.weights * i.active for i in items) == pytest.approx(active, rel=0.15)
    assert sum(map(nbytes, items)) == pytest.approx(disk, rel=0.02)


@pytest.mark.parametrize("shape", shape_names())
@pytest.mark.parametrize("experts", ["published", "int4"])
def test_every_shape_is_written_whole(tmp_path: Path, shape: str, experts: str) -> None:
    raw = small(shape, experts=experts)
    folder = write_model(raw, tmp_path / "out", Choice())
    report = inspect_folder(folder)
    assert report.complete, report.problems
    assert report.layers == 2
    if experts == "int4":
        assert report.expert_format == "int4 g32"
    source = MappedCheckpoint.open(folder)
    for name in source.names():
        tensor = source.tensor(name)
        assert tensor.float().isfinite().all(), name
        assert tensor.float().count_nonzero() > 0, name
    tokenizer = Tokenizer.from_folder(folder)
    ChatTemplate.from_folder(folder, tokenizer)
    assert tokenizer.vocab_size == raw["vocab_size"]
    assert tokenizer.special["<|im_end|>"] in tokenizer.eos_ids
    assert raw["bos_token_id"] == tokenizer.special["[BOS]"]


def test_a_seed_decides_every_byte(tmp_path: Path) -> None:
    one, same, other = (
        digests(write_model(small("k2-thinking"), tmp_path / name, Choice(seed=seed)))
        for name, seed in (("one", 5), ("same", 5), ("other", 6))
    )
    assert one == same
    assert {n for n in one if one[n] != other[n]} == {n for n in one if n.endswith(".safetensors")}


def test_weights_are_scaled_so_that_outputs_spread_by_one(tmp_path: Path) -> None:
    folder = write_model(small("moonlight-16b-a3b"), tmp_path / "plain", Choice())
    source = MappedCheckpoint.open(folder)
    down = source.tensor("model.layers.1.mlp.experts.3.down_proj.weight").float()
    x = torch.randn(down.shape[1], 64, generator=torch.Generator().manual_seed(0))
    assert (down @ x).std() == pytest.approx(1.0, abs=0.1)
    assert torch.linalg.matrix_rank(down) == min(down.shape)


def test_a_sparse_folder_takes_little_disk_and_holds_what_was_asked(tmp_path: Path) -> None:
    raw = small("k2-thinking")
    raw.update(hidden_size=1024, moe_intermediate_size=512)
    folder = write_model(raw, tmp_path / "sparse", Choice(sparse=True, fill_experts=2))
    report = inspect_folder(folder)
    assert report.complete, report.problems
    shard = next(folder.glob("*.safetensors"))
    assert shard.stat().st_blocks * 512 < shard.stat().st_size * 0.7
    source = MappedCheckpoint.open(folder)
    for expert in range(8):
        at = f"model.layers.1.mlp.experts.{expert}.down_proj."
        assert source.tensor(f"{at}weight_shape").tolist() == [1024, 512]
        for name in ("weight_packed", "weight_scale"):
            assert (source.tensor(at + name).count_nonzero() > 0) == (expert < 2)
    assert source.tensor("lm_head.weight").count_nonzero() == 0
    assert source.tensor("model.norm.weight").count_nonzero() > 0


def test_stopped_half_way_nothing_is_left(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        assert 0 < done < total
        assert (tmp_path / "out.part").is_dir()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_model(small("nano"), tmp_path / "out", Choice(), stop)
    assert list(tmp_path.iterdir()) == []


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    write_model(small("nano"), tmp_path / "out", Choice(), lambda *news: heard.append(news))
    done, total = heard[-1]
    assert done == total == sum(p.stat().st_size for p in tmp_path.glob("out/*.safetensors"))
    assert heard == sorted(heard)


def endless(raw: dict[str, Any]) -> None:
    raw.update(hidden_size=65_536, intermediate_size=1 << 20)
    raw.update(num_hidden_layers=1000, first_k_dense_replace=1000)


def tiny_vocabulary(raw: dict[str, Any]) -> None:
    raw["vocab_size"] = 256 + len(CONTROL) - 1


def odd_width(raw: dict[str, Any]) -> None:
    raw["moe_intermediate_size"] = 72


def softmax(raw: dict[str, Any]) -> None:
    raw["scoring_func"] = "softmax"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (endless, "disk_full"),
        (tiny_vocabulary, "vocabulary_too_small"),
        (odd_width, "no_whole_groups"),
        (softmax, "unsupported_config"),
    ],
)
def test_what_cannot_be_written_is_refused_first(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], code: str
) -> None:
    raw = small("k2-thinking")
    change(raw)
    with pytest.raises(SelenographError) as caught:
        write_model(raw, tmp_path / "out", Choice())
    assert caught.value.code == code
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_too_little_disk_names_both_numbers(tmp_path: Path) -> None:
    raw = small("moonlight-16b-a3b")
    endless(raw)
    with pytest.raises(ResourceError) as caught:
        write_model(raw, tmp_path / "out", Choice())
    need, free = (int(w.replace(",", "")) for w in caught.value.message.split() if w[0].isdigit())
    assert need > 4e14 > free > 0
    # The same shape fits where nothing but headers is written.
    assert write_model(raw, tmp_path / "out", Choice(sparse=True)).is_dir()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    for name in ("out", "out.part"):
        (tmp_path / name).mkdir()
        with pytest.raises(RequestError) as caught:
            write_model(small("nano"), tmp_path / "out", Choice())
        assert caught.value.code == "exists"
        assert name in caught.value.message
        (tmp_path / name).rmdir()


def test_a_config_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(small("glm-4.7-flash")))
    for shape in (tmp_path, tmp_path / "config.json"):
        raw = read_shape(str(shape), layers=5)
        assert ModelConfig.from_dict(raw).num_hidden_layers == 5
    with pytest.raises(RequestError) as caught:
        read_shape(str(tmp_path / "nothing"))
    assert caught.value.code == "unknown_shape"
    assert "k2-thinking" in caught.value.hint


@pytest.mark.parametrize("size", [256 + len(CONTROL), 700, 1024, 163_840])
def test_a_vocabulary_fills_every_id(size: int) -> None:
    ranks, control = padded_vocabulary(size)
    assert len(set(ranks)) == len(ranks)
    assert ranks[:256] == word_ranks()[:256]
    assert min(control.values()) == len(ranks)
    assert max(control.values()) == size - 1
    if size == 163_840:  # the published places
        assert (control["[BOS]"], control["<|im_end|>"]) == (163_584, 163_586)
        assert (control["<think>"], control["[PAD]"]) == (163_606, 163_839)


def test_numbers_are_rounded_as_torch_rounds_them() -> None:
    values = np.random.default_rng(0).standard_normal(50_000, dtype=np.float32) * 200
    theirs = torch.from_numpy(values)
    assert np.array_equal(bf16(values), theirs.bfloat16().view(torch.uint16).numpy())
    wide = theirs.clamp(-448, 448).to(torch.float8_e4m3fn)
    ties = np.isin(np.abs(values), (e4m3_values()[1:127] + e4m3_values()[:126]) / 2)
    assert np.array_equal(e4m3(values)[~ties], wide.view(torch.uint8).numpy()[~ties])
    every = torch.arange(128, dtype=torch.uint8).view(torch.float8_e4m3fn).float().numpy()
    assert np.array_equal(e4m3_values(), every, equal_nan=True)
