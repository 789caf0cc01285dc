"""Safetensors headers and the index: where each tensor lies. No tensor library, no mapping.

The header is parsed here, not by a library, because a checkpoint is untrusted and each lie it
can tell should be named: file, tensor, and what is wrong. A trillion-parameter folder describes
200,000 tensors, so sound headers take a quick way; whatever it does not vouch for is read again,
slowly, for the reason.
Format: https://huggingface.co/docs/safetensors (8-byte little-endian header length, JSON, data).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import msgspec

from engine.config import read_bounded, read_json
from engine.errors import CheckpointError

INDEX = "model.safetensors.index.json"
_MAX_HEADER = 100 << 20  # the format's own limit
_MAX_INDEX = 256 << 20
_MAX_SIZE = 1 << 62
AGAIN = "download the file again"
"""The hint where nothing else helps."""

WIDTHS = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
"""Bytes of one element of each dtype that is understood."""


class TensorEntry(msgspec.Struct, frozen=True, gc=False):
    """Where a tensor lies: byte offsets into its file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class Shard:
    """One safetensors file whose header has been checked against its size."""

    path: Path
    size: int
    entries: dict[str, TensorEntry]
    truncated: bool = False
    """Whether the file ends before the data its header promises."""


def read_shard(path: Path, *, allow_truncated: bool = False) -> Shard:
    """Parse and check a header. Raises CheckpointError on every lie it can tell.

    With ``allow_truncated`` a file that is shorter than its header says is reported in the result
    instead, so that a report can name all such files at once.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(8)
            length = int.from_bytes(head, "little")
            if len(head) < 8 or length < 2 or length > min(_MAX_HEADER, max(size - 8, 0)):
                raise _damaged(path, "its header length is impossible", "shard_truncated")
            text = file.read(length)
    except FileNotFoundError:
        raise CheckpointError("shard_missing", f"{path.name} is missing", AGAIN) from None
    except OSError as error:
        raise CheckpointError("unreadable", f"{path.name}: {error.strerror or error}") from error
    base = 8 + length
    entries = _sound_entries(path, text, base) or _checked_entries(path, text, base)
    last = base
    for begin, end, name in sorted((e.begin, e.end, e.name) for e in entries.values()):
        if begin < last:
            raise _damaged(path, f"tensor {name} overlaps its neighbour")
        last = end
    if last > size and not allow_truncated:
        raise _damaged(
            path, f"it has {size:,} bytes of {last:,} that its header promises", "shard_truncated"
        )
    return Shard(path, size, entries, truncated=last > size)


def read_shards(folder: Path) -> tuple[dict[str, Shard], dict[str, TensorEntry]]:
    """Every shard by file and every tensor by name. Raises CheckpointError on the first fault."""
    names = shard_names(folder)
    shards = {file: read_shard(folder / file) for file in sorted(set(names.values()))}
    if not (folder / INDEX).exists():
        return shards, {n: e for s in shards.values() for n, e in s.entries.items()}
    entries: dict[str, TensorEntry] = {}
    for name, file in names.items():
        entry = shards[file].entries.get(name)
        if entry is None:
            raise CheckpointError(
                "tensor_missing",
                f"{INDEX} says {name} is in {file}, but it is not",
                "download index and shards of the same revision",
            )
        entries[name] = entry
    return shards, entries


def shard_names(folder: Path) -> dict[str, str]:
    """Tensor name -> file name by the index; without one, placeholders for each file present."""
    if not folder.is_dir():
        raise CheckpointError(
            "folder_missing", f"{folder} is not a folder", "choose a folder that holds a model"
        )
    index = folder / INDEX
    if not index.exists():
        files = sorted(p.name for p in folder.glob("*.safetensors"))
        if not files:
            raise CheckpointError(
                "no_weights",
                f"there is no .safetensors file in {folder.name}",
                "choose a folder that holds a downloaded model",
            )
        return {f"\0{i}": file for i, file in enumerate(files)}
    sound = _sound_index(index)
    return sound if sound is not None else _checked_index(index)


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def _sound_index(index: Path) -> dict[str, str] | None:
    """The quick way: the map if nothing about it needs a closer look, else None."""
    text = read_bounded(index, _MAX_INDEX)
    if b"\\" in text:
        return None  # an escape can spell what a name must not hold
    try:
        weight_map = msgspec.json.decode(text, type=_Index).weight_map
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    unsafe = not weight_map or any(not _safe(file) for file in set(weight_map.values()))
    return None if unsafe else weight_map


def _checked_index(index: Path) -> dict[str, str]:
    weight_map = read_json(index, limit=_MAX_INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError("config_damaged", f"{INDEX} has no weight_map", AGAIN)
    for name, file in weight_map.items():
        if not _safe(file) or not _sendable(name):
            raise CheckpointError(
                "index_unsafe",
                f"{INDEX} sends {name[:80]!a} to {ascii(file)[:80]}",
                "do not use this folder; download the model from its publisher",
            )
    return weight_map


def _safe(file: object) -> bool:
    """Whether a file name from an untrusted index stays inside the folder."""
    return (
        isinstance(file, str)
        and Path(file).name == file
        and file not in ("", ".", "..")
        and _sendable(file)
    )


class _Described(msgspec.Struct, gc=False):
    """A tensor as the header tells it; the defaults are what no sound header says."""

    dtype: str = ""
    shape: tuple[int, ...] = ()
    data_offsets: tuple[int, int] = (-1, -1)


def _sound_entries(path: Path, text: bytes, base: int) -> dict[str, TensorEntry] | None:
    """The quick way: the entries if every one is beyond doubt, else None.

    The decoder keeps the last of two equal names. Where nothing is escaped, each description
    spells each of its keys once, so a name or key that occurs twice makes one of the counts
    exceed the number of entries.
    """
    if b"\\" in text or text.count(b'"__metadata__"') > 1:
        return None
    try:
        described = msgspec.json.decode(text, type=dict[str, _Described])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    described.pop("__metadata__", None)
    if any(
        text.count(key) != len(described) for key in (b'"dtype"', b'"shape"', b'"data_offsets"')
    ):
        return None
    entries: dict[str, TensorEntry] = {}
    file = path.name
    for name, tensor in described.items():
        width, shape, (begin, end) = WIDTHS.get(tensor.dtype), tensor.shape, tensor.data_offsets
        if (
            width is None
            or not 0 <= begin < end < _MAX_SIZE  # an empty tensor is looked at closely
            or len(shape) > 8
            or min(shape, default=1) < 1
            or math.prod(shape) * width != end - begin
        ):
            return None
        entries[name] = TensorEntry(name, tensor.dtype, shape, file, base + begin, base + end)
    return entries


def _checked_entries(path: Path, text: bytes, base: int) -> dict[str, TensorEntry]:
    """The slow way, which finds the reason. Raises CheckpointError."""
    try:
        header = json.loads(text, object_pairs_hook=_unique_object)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is not valid JSON ({error})") from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not an object")
    header.pop("__metadata__", None)
    return {n: _entry(path, n, v, base) for n, v in header.items()}


def _entry(path: Path, name: str, value: object, base: int) -> TensorEntry:
    if not _sendable(name):
        raise _damaged(path, f"a tensor has the impossible name {name[:80]!a}")
    if not isinstance(value, dict):
        raise _damaged(path, f"tensor {name[:80]} is not described by an object")
    kind, shape, offsets = (value.get(k) for k in ("dtype", "shape", "data_offsets"))
    if not isinstance(kind, str) or kind not in WIDTHS:
        raise _damaged(path, f"tensor {name[:80]} has the unknown dtype {ascii(kind)[:20]}")
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2 or len(shape) > 8:
        raise _damaged(path, f"tensor {name[:80]} has an impossible shape or place")
    if math.prod(side or 1 for side in shape) >= _MAX_SIZE:  # empty, yet too wide for strides
        raise _damaged(path, f"tensor {name[:80]} has an impossible shape or place")
    begin, end = offsets
    if end - begin != math.prod(shape) * WIDTHS[kind]:
        raise _damaged(path, f"tensor {name[:80]} of {shape} {kind} has {end - begin} bytes")
    return TensorEntry(name, kind, tuple(shape), path.name, base + begin, base + end)


def _sendable(name: str) -> bool:
    """Whether a name can stand in a path and in a report: no zero byte, no lone surrogate."""
    return not any(c == "\0" or 0xD800 <= ord(c) < 0xE000 for c in name)


def _naturals(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(v) is int and 0 <= v < _MAX_SIZE for v in value)


def _unique_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _damaged(path: Path, what: str, code: str = "shard_damaged") -> CheckpointError:
    return CheckpointError(code, f"{path.name} is damaged: {what}", AGAIN)
