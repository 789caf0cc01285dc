"""The quick reader vouches only for what the careful one accepts, and reads the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.checkpoint.headers import (
    INDEX,
    _checked_entries,
    _checked_index,
    _sound_entries,
    _sound_index,
)
from engine.errors import CheckpointError

SHARD = Path("model.safetensors")
SOUND = {
    "__metadata__": {"format": "pt"},
    "model.a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "model.b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
}


def agree(text: bytes) -> bool:
    """Whether the quick reader took the header."""
    quick = _sound_entries(SHARD, text, 100)
    if quick is None:
        return False
    assert quick == _checked_entries(SHARD, text, 100)
    return True


def test_a_published_header_takes_the_quick_way() -> None:
    text = json.dumps(SOUND).encode()
    assert agree(text)
    assert agree(text + b"   ")


PIECES = st.sampled_from(
    [
        *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u005f", b"0", b"-", b".", b"e"),
        *(b'"dtype"', b'"shape"', b'"data_offsets"', b'"model.a"', b'"__metadata__"', b"null"),
        *(b"true", b"F32", b"9" * 30, b"\0", b"\xff", b" ", b'"F32"', b"[2,3]", b"[0,24]", b"1"),
    ]
)


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 30), PIECES | st.just(b"")), max_size=4)
)
@settings(max_examples=400, deadline=None)
def test_both_readers_agree_on_any_edit(edits: list[tuple[int, int, bytes]]) -> None:
    text = json.dumps(SOUND).encode()
    for at, cut, new in edits:
        text = text[:at] + new + text[at + cut :]
    agree(text)


NAME = st.sampled_from(["a", "model.a", "dtype", "data_offsets", "__metadata__", "ü", "\ud800"])
NUMBER = st.sampled_from([-1, 0, 1, 2, 24, 1 << 62, 1 << 70, 2.0, True, None, "4"])
VALUE = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "U8", "F4", "dtype", None, 3]),
        "shape": st.lists(NUMBER, max_size=9) | NUMBER,
        "data_offsets": st.lists(NUMBER, max_size=3) | NUMBER,
        "shape2": st.just({"dtype": "F32", "shape": 1}),
    },
)


@given(st.lists(st.tuples(NAME, VALUE | NUMBER), max_size=4), st.booleans())
@settings(max_examples=300, deadline=None)
def test_both_readers_agree_on_any_table(pairs: list[tuple[str, Any]], escaped: bool) -> None:
    """Names may occur twice, which no dictionary can tell."""
    members = [
        f"{json.dumps(name, ensure_ascii=escaped)}: {json.dumps(value)}" for name, value in pairs
    ]
    agree(("{" + ", ".join(members) + "}").encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    "files",
    [
        {"a": "x.safetensors", "b": "x.safetensors"},
        {},
        {"a": "../x"},
        {"a": 7},
        {"a": "\ud800"},
        {"\0": "x.safetensors"},
    ],
    ids=str,
)
def test_both_readers_agree_on_an_index(tmp_path: Path, files: dict[str, Any]) -> None:
    path = tmp_path / INDEX
    path.write_text(json.dumps({"metadata": {"total_size": 4}, "weight_map": files}))
    quick = _sound_index(path)
    if quick is None:
        with pytest.raises(CheckpointError):
            _checked_index(path)
    else:
        assert quick == _checked_index(path) == files
