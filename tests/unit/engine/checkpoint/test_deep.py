"""Content that cannot be right: found by the deep report, and by loading where it must be."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.checkpoint.deep import check_content
from engine.checkpoint.headers import read_shards
from engine.checkpoint.report import inspect_folder
from engine.config import ModelConfig
from engine.errors import CheckpointError
from engine.making.shapes import read_shape
from engine.making.writer import Choice, write_model
from engine.model.loader import load_model

AT = "model.layers.1."
EXPERT = f"{AT}mlp.experts.5.up_proj.weight"


@pytest.fixture
def int4(tmp_path: Path) -> Path:
    return write_model(read_shape("nano", layers=2), tmp_path / "int4", Choice())


@pytest.fixture
def fp8(tmp_path: Path) -> Path:
    raw = read_shape("nano", layers=2)
    raw["quantization_config"] = read_shape("deepseek-v3")["quantization_config"]
    return write_model(raw, tmp_path / "fp8", Choice())


def rewrite(folder: Path, name: str, at: tuple[int, ...], value: float) -> None:
    """Change one number of one tensor."""
    (path,) = folder.glob("*.safetensors")
    tensors = load_file(path)
    tensors[name][at] = value
    save_file(tensors, path)


def problems(folder: Path, deep: bool = True) -> list[tuple[str, str]]:
    return [(p.code, p.message) for p in inspect_folder(folder, deep=deep).problems]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("name", "at"),
    [(f"{EXPERT}_scale", (3, 7)), (f"{AT}self_attn.kv_a_layernorm.weight", (0,))],
)
def test_what_is_no_number_is_named(
    int4: Path, name: str, at: tuple[int, ...], value: float
) -> None:
    assert problems(int4) == []
    rewrite(int4, name, at, value)
    assert problems(int4, deep=False) == []
    ((code, message),) = problems(int4)
    assert code == "not_a_number"
    assert name in message and " 1 value" in message


def test_fp8_scales_are_read_too(fp8: Path) -> None:
    assert problems(fp8) == []
    name = f"{AT}self_attn.o_proj.weight_scale_inv"
    rewrite(fp8, name, (0, 0), float("nan"))
    ((code, message),) = problems(fp8)
    assert code == "not_a_number" and name in message


def test_the_largest_number_is_one(int4: Path) -> None:
    rewrite(int4, f"{EXPERT}_scale", (0, 0), torch.finfo(torch.bfloat16).max)
    assert problems(int4) == []


@pytest.mark.parametrize("value", [0, -1, 129])
def test_a_shape_record_that_lies_is_found_and_not_loaded(int4: Path, value: int) -> None:
    rewrite(int4, f"{EXPERT}_shape", (0,), value)
    ((code, message),) = problems(int4)
    assert code == "wrong_shape"
    assert f"{EXPERT}_shape says [{value}, 256]" in message
    with pytest.raises(CheckpointError) as caught:
        load_model(int4, experts="reference")
    assert caught.value.code == "wrong_shape"
    assert f"{EXPERT}_shape says [{value}, 256]" in caught.value.message


def test_shape_records_of_64_bits(int4: Path) -> None:
    (path,) = int4.glob("*.safetensors")
    tensors = load_file(path)
    wide = {n: t.long() if n.endswith("_shape") else t for n, t in tensors.items()}
    save_file(wide, path)
    assert problems(int4) == []
    load_model(int4, experts="reference").close()
    rewrite(int4, f"{EXPERT}_shape", (1,), 7)
    assert [code for code, _ in problems(int4)] == ["wrong_shape"]


def test_progress_ends_at_the_whole_and_the_numbers_are_read_in_pieces(
    int4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.checkpoint.deep._CHUNK", 64)
    heard: list[float] = []
    inspect_folder(int4, deep=True, progress=heard.append)
    assert heard == sorted(heard) and heard[-1] == 1.0
    rewrite(int4, f"{EXPERT}_scale", (127, 7), float("nan"))  # its last number
    assert [code for code, _ in problems(int4)] == ["not_a_number"]


def test_a_file_that_shrinks_while_it_is_read(int4: Path) -> None:
    config = ModelConfig.from_folder(int4)
    _, entries = read_shards(int4)
    (path,) = int4.glob("*.safetensors")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(CheckpointError) as caught:
        list(check_content(int4, config, entries))
    assert caught.value.code == "shard_truncated"
    assert caught.value.hint


def test_names_that_occur_twice_are_seen(tmp_path: Path) -> None:
    """The quick reader must not let a second description replace the first."""
    one = '"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}'
    two = '"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}'
    escaped = two.replace("data_offsets", "data\\u005foffsets")
    inside = '"a":{"dtype":"U8","dtype":"I8","shape":[4],"data_offsets":[0,4]}'
    cases: list[Any] = [f"{one},{two}", f"{one},{escaped}", f"{escaped},{one}", inside]
    for body in cases:
        text = f"{{{body}}}".encode()
        content = struct.pack("<Q", len(text)) + text + bytes(8)
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            read_shards(tmp_path)
        assert "occurs twice" in caught.value.message
