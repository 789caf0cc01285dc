"""Verifying: a sound folder passes, each kind of damage and a wrong kernel is caught."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.checkpoint.headers import shard_names
from engine.errors import CheckpointError
from engine.experts.base import ExpertBackend, ExpertWeights, PackedMatrix
from engine.experts.native import Mode, NativeExperts
from engine.model.deepseek import Model
from engine.model.loader import load_model
from engine.native import _kernels
from engine.tiny import TinyShape, write_tiny
from engine.verifying.command import main, native, verify

ISAS = _kernels.available_isas()
EXPERT = "model.layers.2.mlp.experts.3."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "tiny", shape=TinyShape(layers=4))


def change(folder: Path, name: str, values: torch.Tensor) -> None:
    """Overwrite a tensor in its shard."""
    path = folder / shard_names(folder)[name]
    tensors = {n: t.clone() for n, t in load_file(path).items()}
    assert tensors[name].shape == values.shape
    tensors[name] = values
    save_file(tensors, path)


def test_a_sound_folder_passes(folder: Path) -> None:
    told: list[str] = []
    found = verify(folder, 60, told.append)
    assert found.passed, found
    names = [check.name for check in found.checks]
    kernels = [f"kernels {isa} {mode}" for isa in ISAS for mode in ("exact", "fast")]
    assert names == ["scales", *kernels, "reply steps/one pass", "reply fast/exact"]
    by_name = {check.name: check for check in found.checks}
    assert by_name["scales"].covered == "3 of 3 layers"
    assert by_name["kernels scalar exact"].worst < by_name["kernels scalar fast"].worst
    assert by_name["reply fast/exact"].covered == "32 tokens"
    assert found.seconds < 60 and told


def test_without_time_each_check_still_sees_something(folder: Path) -> None:
    found = verify(folder, 0)
    assert found.passed
    assert found.checks[0].covered == "1 of 3 layers"
    assert found.checks[-1].covered == "1 tokens"


def test_a_scale_that_is_no_number_is_caught(folder: Path) -> None:
    name = f"{EXPERT}up_proj.weight_scale"
    scale = load_file(folder / shard_names(folder)[name])[name].clone()
    scale[5, 1] = torch.nan
    scale[6, 0] = -torch.inf
    change(folder, name, scale)
    found = verify(folder, 60)
    assert not found.passed
    assert found.checks[0].worst == 2
    assert "layer 2, expert 3, up" in found.verdict


def test_a_shape_record_that_lies_is_caught(folder: Path) -> None:
    change(folder, f"{EXPERT}down_proj.weight_shape", torch.tensor([32, 64], dtype=torch.int32))
    with pytest.raises(CheckpointError, match="weight_shape says"):
        verify(folder, 60)


class Swapped(NativeExperts):
    """Reads the two nibbles of a byte in the wrong order, as an engine for another layout would."""

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        super().add_layer(layer, [_swapped(e) for e in experts])


def _swapped(expert: ExpertWeights) -> ExpertWeights:
    up = expert.up
    assert isinstance(up, PackedMatrix)
    return ExpertWeights(
        expert.gate, PackedMatrix((up.packed >> 4) | (up.packed << 4), up.scale), expert.down
    )


def test_a_mode_that_shuffles_weights_is_caught(folder: Path) -> None:
    def make(isa: str, mode: Mode) -> ExpertBackend:
        wrong = isa == ISAS[-1] and mode == "fast"
        return Swapped(isa=isa, mode=mode) if wrong else native(isa, mode)

    found = verify(folder, 60, make=make)
    assert [c.name for c in found.checks if not c.passed] == [f"kernels {ISAS[-1]} fast"]
    assert f"kernels {ISAS[-1]} fast is wrong at layer" in found.verdict


def test_the_reply_alone_would_catch_it_too(folder: Path) -> None:
    def load(folder: Path, isa: str, mode: Mode) -> Model:
        # Right as long as kernels are tried alone, wrong in the model: only the reply can tell.
        kernels = Swapped if mode == "fast" else NativeExperts
        return load_model(folder, experts=kernels(isa=isa, mode=mode))

    found = verify(folder, 60, load=load)
    assert [c.name for c in found.checks if not c.passed] == ["reply fast/exact"]


def test_exit_codes_and_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is True and found["verdict"].startswith("This machine computes")
    name = f"{EXPERT}gate_proj.weight_scale"
    scale = load_file(folder / shard_names(folder)[name])[name]
    change(folder, name, torch.full_like(scale, torch.inf))
    assert main([str(folder)]) == 1
    out = capsys.readouterr().out
    assert "WRONG  scales" in out and "Do not trust" in out


def test_a_model_without_routed_experts_is_said_to_be_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "first_k_dense_replace": 4}))
    assert main([str(folder)]) == 1
    assert "nothing_to_verify" in capsys.readouterr().err
