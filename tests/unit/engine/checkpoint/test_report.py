"""``python -m engine.checkpoint``: what is in a folder, and all that is wrong with it at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.checkpoint.__main__ import as_text
from engine.checkpoint.mapped import INDEX
from engine.checkpoint.report import inspect_folder
from engine.errors import CheckpointError
from engine.making.shapes import read_shape
from engine.making.writer import Choice, write_model
from engine.model.loader import load_model
from engine.protocol import FolderReport
from engine.tiny import TinyShape, write_tiny

ROOT = Path(__file__).parents[4]
FIRST, SECOND = (f"model-0000{i}-of-00002.safetensors" for i in (1, 2))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "tiny", shape=TinyShape(layers=2, experts=4))


def codes(folder: Path) -> set[str]:
    report = inspect_folder(folder)
    assert report.complete == (not report.problems)
    assert all(p.message for p in report.problems)
    return {p.code for p in report.problems}


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the tensors of the second shard."""
    tensors = load_file(folder / SECOND)
    change(tensors)
    save_file(tensors, folder / SECOND)


def test_a_complete_folder(tiny: Path) -> None:
    report = inspect_folder(tiny)
    assert report.complete and report.problems == ()
    assert (report.family, report.layers, report.shards) == ("kimi_k2", 2, 2)
    assert (report.routed_experts, report.experts_per_token) == (4, 2)
    assert report.tokenizer and report.chat_template
    assert report.total_bytes == sum(p.stat().st_size for p in tiny.glob("*.safetensors"))
    assert 0 < sum(report.bytes_by_part.values()) < report.total_bytes  # headers are the rest
    # One mixture layer of four experts, three matrices of 64 x 32 in INT4: 12 x 2,048 weights.
    dense = load_file(tiny / FIRST) | load_file(tiny / SECOND)
    plain = sum(t.numel() for n, t in dense.items() if ".mlp.experts." not in n)
    assert report.parameters == plain + 12 * 64 * 32
    assert report.active_parameters < report.parameters


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engine.checkpoint", str(folder), *options],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )


def test_the_command_prints_the_report_as_json(tiny: Path) -> None:
    done = run(tiny, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert msgspec.json.decode(done.stdout, type=FolderReport) == inspect_folder(tiny)


def test_the_command_fails_on_a_folder_that_is_not_usable(tiny: Path) -> None:
    (tiny / FIRST).unlink()
    done = run(tiny)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.rstrip() == as_text(inspect_folder(tiny))
    assert f"shard_missing: {FIRST} is missing" in done.stdout


def test_all_problems_are_found_at_once(tiny: Path) -> None:
    (tiny / "tiktoken.model").unlink()
    (tiny / "config.json").write_text("{")
    cut = (tiny / SECOND).read_bytes()[:-100]
    (tiny / SECOND).write_bytes(cut)
    assert codes(tiny) == {"file_missing", "config_damaged", "shard_truncated"}


def test_missing_tensors_are_named_up_to_a_bound(tiny: Path) -> None:
    held = json.loads((tiny / INDEX).read_text())["weight_map"].values()
    lost = sum(file == FIRST for file in held)
    (tiny / FIRST).unlink()
    missing = [p for p in inspect_folder(tiny).problems if p.code == "tensor_missing"]
    assert len(missing) == 5
    assert missing[-1].more + len(missing) == lost


def test_a_wrong_shape_and_a_wrong_dtype(tiny: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.norm.weight"] = torch.ones(63)
        tensors["lm_head.weight"] = tensors["lm_head.weight"].double()

    rewrite(tiny, change)
    assert codes(tiny) == {"wrong_shape", "wrong_dtype"}
    with pytest.raises(CheckpointError) as caught:
        load_model(tiny, experts="reference")
    assert caught.value.code == "wrong_shape"


def test_a_config_of_another_model(tiny: Path) -> None:
    raw = json.loads((tiny / "config.json").read_text())
    (tiny / "config.json").write_text(json.dumps({**raw, "kv_lora_rank": 64}))
    assert codes(tiny) == {"wrong_shape"}


def test_nothing_there(tmp_path: Path) -> None:
    assert codes(tmp_path) == {"file_missing", "no_weights"}
    assert "folder_missing" in codes(tmp_path / "nowhere")


def test_a_tensor_that_the_index_forgot(tiny: Path) -> None:
    index = json.loads((tiny / INDEX).read_text())
    del index["weight_map"]["model.norm.weight"]
    (tiny / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError):
        load_model(tiny, experts="reference")
    assert not inspect_folder(tiny).complete


def test_a_report_of_odd_names_can_be_sent(tiny: Path) -> None:
    index = json.loads((tiny / INDEX).read_text())
    index["weight_map"]["\ud800"] = FIRST
    (tiny / INDEX).write_text(json.dumps(index))
    report = inspect_folder(tiny)
    assert msgspec.json.decode(msgspec.json.encode(report), type=FolderReport) == report


def test_a_vocabulary_that_cannot_be_read_yet_is_told_of(tiny: Path) -> None:
    (tiny / "tiktoken.model").rename(tiny / "tokenizer.json")
    report = inspect_folder(tiny)
    assert not report.complete and not report.tokenizer
    (problem,) = report.problems
    assert problem.code == "tokenizer_unsupported"
    assert "tokenizer.json" in problem.message and problem.hint


def test_layers_beyond_the_last_are_not_looked_at(tiny: Path) -> None:
    """Published folders hold one more layer, for predicting several tokens."""
    before = inspect_folder(tiny)
    extra = {
        "model.layers.2.eh_proj.weight": torch.ones(4, 4),
        "model.layers.2.input_layernorm.weight": torch.ones(3),
    }
    rewrite(tiny, lambda tensors: tensors.update(extra))
    index = json.loads((tiny / INDEX).read_text())
    index["weight_map"].update(dict.fromkeys(extra, SECOND))
    (tiny / INDEX).write_text(json.dumps(index))
    report = inspect_folder(tiny)
    assert report.complete, report.problems
    assert report.parameters == before.parameters
    load_model(tiny, experts="reference").close()


def test_fp8_folders_hold_a_scale_for_every_block(tmp_path: Path) -> None:
    raw = read_shape("nano", layers=2)
    raw["quantization_config"] = read_shape("deepseek-v3")["quantization_config"]
    folder = write_model(raw, tmp_path / "fp8", Choice())
    report = inspect_folder(folder)
    assert report.complete, report.problems
    assert report.expert_format == "fp8 b128"
    (path,) = folder.glob("*.safetensors")
    tensors = load_file(path)
    name = "model.layers.1.self_attn.kv_a_proj_with_mqa.weight_scale_inv"
    assert tensors[name].shape == (1, 2)  # of [112, 256]
    tensors[name] = torch.ones(1, 3)
    tensors["model.layers.1.mlp.experts.0.up_proj.weight"] = torch.ones(128, 256)
    save_file(tensors, path)
    assert codes(folder) == {"wrong_shape", "wrong_dtype"}
    for name in ("o_proj", "q_a_proj"):
        del tensors[f"model.layers.0.self_attn.{name}.weight_scale_inv"]
    save_file(tensors, path)
    assert "index_wrong" in codes(folder) and "tensor_missing" in codes(folder)
