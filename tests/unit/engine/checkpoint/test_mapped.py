"""Lying, cut and malformed safetensors files: a CheckpointError that says what to do, always."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from engine.checkpoint.mapped import INDEX, MappedCheckpoint, read_shard
from engine.errors import CheckpointError

SOUND = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "I32", "shape": [4], "data_offsets": [24, 40]},
    "empty": {"dtype": "F32", "shape": [0, 3], "data_offsets": [40, 40]},
}
DATA = bytes(range(40))


def shard(header: object, data: bytes = DATA, length: int | None = None) -> bytes:
    """A safetensors file; `length` lies about the header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


@contextmanager
def folder_of(content: bytes, index: object = None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.safetensors").write_bytes(content)
        if index is not None:
            text = index if isinstance(index, bytes) else json.dumps(index).encode()
            (folder / INDEX).write_bytes(text)
        yield folder


def read_all(folder: Path) -> dict[str, torch.Tensor]:
    """Open and touch every byte of every tensor."""
    source = MappedCheckpoint.open(folder)
    return {name: source.tensor(name).clone() for name in source.names()}


def error_of(folder: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        read_all(folder)
    assert caught.value.code and caught.value.message
    return caught.value


def test_a_sound_file_reads_as_the_format_s_own_library_wrote_it(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    written = {
        "w": torch.randn(5, 7, generator=rng),
        "half": torch.randn(3, generator=rng).bfloat16(),
        "ids": torch.arange(6, dtype=torch.int32).view(2, 3),
        "scalar": torch.tensor(4.0),
        "none": torch.empty(0, 9),
    }
    save_file(written, tmp_path / "x.safetensors", metadata={"format": "pt"})
    read = read_all(tmp_path)
    assert read.keys() == written.keys()
    assert all(torch.equal(read[n], written[n]) for n in written)
    assert all(read[n].dtype == written[n].dtype for n in written)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [2, 4]},
        {"shape": [-2, -3]},
        {"shape": [1 << 61, 1 << 61]},
        {"shape": [2.0, 3]},
        {"shape": "23"},
        {"shape": [1] * 9},
        {"shape": None},
        {"dtype": "F64"},
        {"dtype": "Q4"},
        {"dtype": None},
        {"data_offsets": [-24, 0]},
        {"data_offsets": [24, 0]},
        {"data_offsets": [4, 28]},
        {"data_offsets": [0, 24, 24]},
        {"data_offsets": [0]},
        {"data_offsets": [False, 24]},
        {"data_offsets": [1 << 60, (1 << 60) + 24]},
    ],
    ids=str,
)
def test_a_lie_about_one_tensor(change: dict[str, Any]) -> None:
    header = {**SOUND, "a": {**SOUND["a"], **change}}
    with folder_of(shard(header)) as folder:
        error = error_of(folder)
    assert error.code in ("shard_damaged", "shard_truncated")
    assert error.hint
    assert "model.safetensors" in error.message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01\x02",
        shard(SOUND, length=0),
        shard(SOUND, length=1 << 62),
        shard(SOUND, length=(1 << 64) - 1),
        shard(SOUND, length=10_000),
        shard(SOUND, length=20),
        shard(b"not json at all"),
        shard(b"\xff\xfe\xfd\xfc"),
        shard(b"[" * 60_000),
        shard([1, 2]),
        shard({"a": 7}),
        shard(b'{"a": {"shape": [' + b"9" * 5000 + b"]}}"),
        shard(b'{"a": {}, "a": {}}'),
        shard(SOUND, DATA[:-1]),
        shard(SOUND, b""),
    ],
    ids=lambda content: f"{len(content)}-{content[:12].hex()}",
)
def test_a_file_that_is_none(content: bytes) -> None:
    with folder_of(content) as folder:
        error = error_of(folder)
    assert error.code in ("shard_damaged", "shard_truncated")
    assert error.hint


def test_a_huge_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 1 << 33))
        file.truncate(1 << 40)  # sparse: as large as it claims, and takes no disk
    assert error_of(tmp_path).hint


def test_a_cut_file_can_be_reported_instead_of_raised() -> None:
    with folder_of(shard(SOUND, DATA[:-1])) as folder:
        assert read_shard(folder / "model.safetensors", allow_truncated=True).truncated
    with folder_of(shard(SOUND)) as folder:
        assert not read_shard(folder / "model.safetensors", allow_truncated=True).truncated


def test_asking_for_another_shape_or_name() -> None:
    with folder_of(shard(SOUND)) as folder:
        source = MappedCheckpoint.open(folder)
        assert source.tensor("a", (2, 3)).shape == (2, 3)
        for name, shape, code in (("a", (3, 2), "wrong_shape"), ("z", None, "tensor_missing")):
            with pytest.raises(CheckpointError) as caught:
                source.tensor(name, shape)
            assert caught.value.code == code
            assert caught.value.hint


@pytest.mark.parametrize(
    ("index", "code"),
    [
        ({"weight_map": {"a": "other.safetensors"}}, "shard_missing"),
        ({"weight_map": {"z": "model.safetensors"}}, "tensor_missing"),
        (b"{", "config_damaged"),
    ],
)
def test_an_index_of_another_model(index: object, code: str) -> None:
    with folder_of(shard(SOUND), index) as folder:
        error = error_of(folder)
    assert error.code == code
    assert error.hint


UNSAFE = ["../model.safetensors", "/etc/passwd", "", ".", "..", "a/b.safetensors", 7, None]


@pytest.mark.parametrize("file", UNSAFE)
def test_an_index_cannot_lead_out_of_the_folder(file: object) -> None:
    with folder_of(shard(SOUND), {"weight_map": {"a": file}}) as folder:
        assert error_of(folder).code == "index_unsafe"


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": []}, []])
def test_an_index_without_a_map(index: object) -> None:
    with folder_of(shard(SOUND), index) as folder:
        assert error_of(folder).code == "config_damaged"


def test_a_folder_without_weights_and_none_at_all(tmp_path: Path) -> None:
    assert error_of(tmp_path).code == "no_weights"
    assert error_of(tmp_path / "nowhere").code == "folder_missing"


NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 4, 24, 40, 1 << 31, 1 << 63, 2.0, True, None, "4"])
LISTS = st.lists(NUMBERS, max_size=3) | NUMBERS
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "I32", "U8", "BF16", "F4", "", None, 3]),
        "shape": LISTS,
        "data_offsets": LISTS,
    },
)


def read_or_refuse(folder: Path) -> None:
    try:
        tensors = read_all(folder)
    except CheckpointError as error:
        assert error.code and error.message and error.hint
    else:
        # What a lie cannot do is hand out more than the file holds.
        assert sum(t.nbytes for t in tensors.values()) <= len(DATA)


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "__metadata__"]), ENTRY | NUMBERS))
@settings(max_examples=150, deadline=None)
def test_any_header_is_read_or_refused(changes: dict[str, Any]) -> None:
    header = dict(SOUND)
    for name, change in changes.items():
        both = isinstance(change, dict) and name in SOUND
        header[name] = {**SOUND[name], **change} if both else change
    with folder_of(shard(header)) as folder:
        read_or_refuse(folder)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_damaged_bytes_are_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(shard(SOUND))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    with folder_of(bytes(content[: data.draw(st.integers(0, len(content)))])) as folder:
        read_or_refuse(folder)


@pytest.mark.parametrize("dtype", [[], {}])
def test_a_dtype_that_is_no_name(dtype: object) -> None:
    with folder_of(shard({"a": {**SOUND["a"], "dtype": dtype}})) as folder:
        assert error_of(folder).code == "shard_damaged"


def test_an_empty_tensor_of_absurd_width() -> None:
    wide = {"dtype": "F32", "shape": [0, 1 << 61, 1 << 61], "data_offsets": [0, 0]}
    with folder_of(shard({"a": wide})) as folder:
        assert error_of(folder).hint


@pytest.mark.parametrize("file", ["a\0b", "\ud800"], ids=["nul", "surrogate"])
def test_a_file_name_that_no_system_takes(file: str) -> None:
    with folder_of(shard(SOUND), {"weight_map": {"a": file}}) as folder:
        assert error_of(folder).code == "index_unsafe"


@pytest.mark.parametrize("index", [[], {"weight_map": {}}, {"weight_map": {"a": "../x"}}], ids=str)
def test_errors_of_the_index_say_what_to_do(index: object) -> None:
    with folder_of(shard(SOUND), index) as folder:
        assert error_of(folder).hint
