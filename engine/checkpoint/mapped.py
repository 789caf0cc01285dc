"""Memory-mapped safetensors: tensors are read-only views of the file's own bytes.

The header is parsed here, not by a library, because a checkpoint is untrusted and each lie it
can tell should be named: file, tensor, and what is wrong.
Format: https://huggingface.co/docs/safetensors (8-byte little-endian header length, JSON, data).
"""

from __future__ import annotations

import json
import math
import mmap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor

from engine.config import read_json
from engine.errors import CheckpointError

INDEX = "model.safetensors.index.json"
_MAX_HEADER = 100 << 20  # the format's own limit
_MAX_INDEX = 256 << 20
_AGAIN = "download the file again"

DTYPES: dict[str, tuple[torch.dtype, int]] = {
    "F64": (torch.float64, 8),
    "F32": (torch.float32, 4),
    "F16": (torch.float16, 2),
    "BF16": (torch.bfloat16, 2),
    "F8_E4M3": (torch.float8_e4m3fn, 1),
    "I64": (torch.int64, 8),
    "I32": (torch.int32, 4),
    "I16": (torch.int16, 2),
    "I8": (torch.int8, 1),
    "U8": (torch.uint8, 1),
    "BOOL": (torch.bool, 1),
}


@dataclass(frozen=True, slots=True)
class TensorEntry:
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
        raise CheckpointError(
            "shard_missing", f"{path.name} is missing", "download the file again"
        ) from None
    except OSError as error:
        raise CheckpointError("unreadable", f"{path.name}: {error.strerror or error}") from error
    try:
        header = json.loads(text, object_pairs_hook=_unique_object)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is not valid JSON ({error})") from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not an object")
    header.pop("__metadata__", None)
    entries = {n: _entry(path, n, v, 8 + length) for n, v in header.items()}
    last = 8 + length
    for entry in sorted(entries.values(), key=lambda e: (e.begin, e.end)):
        if entry.begin < last:
            raise _damaged(path, f"tensor {entry.name} overlaps its neighbour")
        last = entry.end
    if last > size and not allow_truncated:
        raise _damaged(
            path, f"it has {size:,} bytes of {last:,} that its header promises", "shard_truncated"
        )
    return Shard(path, size, entries, truncated=last > size)


class MappedCheckpoint:
    """All tensors of a folder by name. Views stay valid while this object or they live."""

    def __init__(self, folder: Path, shards: dict[str, Shard], entries: dict[str, TensorEntry]):
        self.folder = folder
        self._shards = shards
        self._entries = entries
        self._maps: dict[str, mmap.mmap] = {}

    @classmethod
    def open(cls, folder: Path) -> MappedCheckpoint:
        """Read index and headers; maps nothing yet. Raises CheckpointError."""
        names = shard_names(folder)
        shards = {file: read_shard(folder / file) for file in sorted(set(names.values()))}
        if not (folder / INDEX).exists():
            return cls(
                folder, shards, {n: e for s in shards.values() for n, e in s.entries.items()}
            )
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
        return cls(folder, shards, entries)

    def names(self) -> Iterator[str]:
        """Every tensor's name."""
        return iter(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def entry(self, name: str) -> TensorEntry:
        """Where and what a tensor is. Raises CheckpointError when there is none."""
        try:
            return self._entries[name]
        except KeyError:
            raise CheckpointError(
                "tensor_missing",
                f"tensor {name} is not in this checkpoint",
                "run `selenograph inspect` on the folder to see what is missing",
            ) from None

    def tensor(self, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
        """A view of the file. Raises CheckpointError if absent or not of `shape`."""
        entry = self.entry(name)
        if shape is not None and entry.shape != shape:
            raise CheckpointError(
                "wrong_shape",
                f"{name} in {entry.file} is {list(entry.shape)}, config.json wants {list(shape)}",
                "config.json and weights are not of the same model",
            )
        dtype, width = DTYPES[entry.dtype]
        count = math.prod(entry.shape)
        if count == 0:
            return torch.empty(entry.shape, dtype=dtype)
        with warnings.catch_warnings():
            # Nothing writes to weights, and a private writable map would count as memory.
            warnings.filterwarnings("ignore", message="The given buffer is not writable")
            flat = torch.frombuffer(
                self._map(entry.file), dtype=dtype, count=count, offset=entry.begin
            )
        # Kernels load aligned words; published files are aligned, an odd one is copied.
        view = flat if entry.begin % width == 0 else flat.clone()
        return view.view(entry.shape)

    @property
    def files(self) -> list[Path]:
        """The shards."""
        return [s.path for s in self._shards.values()]

    def _map(self, file: str) -> mmap.mmap:
        mapped = self._maps.get(file)
        if mapped is None:
            with (self.folder / file).open("rb") as handle:
                mapped = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
            self._maps[file] = mapped
        return mapped


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
    weight_map = read_json(index, limit=_MAX_INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError("config_damaged", f"{INDEX} has no weight_map", _AGAIN)
    for name, file in weight_map.items():
        # A file name from an untrusted index must stay inside the folder.
        if (
            not isinstance(file, str)
            or Path(file).name != file
            or file in ("", ".", "..")
            or not (_sendable(file) and _sendable(name))
        ):
            raise CheckpointError(
                "index_unsafe",
                f"{INDEX} sends {name[:80]!a} to {ascii(file)[:80]}",
                "do not use this folder; download the model from its publisher",
            )
    return weight_map


def _entry(path: Path, name: str, value: object, base: int) -> TensorEntry:
    if not _sendable(name):
        raise _damaged(path, f"a tensor has the impossible name {name[:80]!a}")
    if not isinstance(value, dict):
        raise _damaged(path, f"tensor {name[:80]} is not described by an object")
    kind, shape, offsets = (value.get(k) for k in ("dtype", "shape", "data_offsets"))
    if not isinstance(kind, str) or kind not in DTYPES:
        raise _damaged(path, f"tensor {name[:80]} has the unknown dtype {ascii(kind)[:20]}")
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2 or len(shape) > 8:
        raise _damaged(path, f"tensor {name[:80]} has an impossible shape or place")
    if math.prod(side or 1 for side in shape) >= 1 << 62:  # empty, yet too wide for strides
        raise _damaged(path, f"tensor {name[:80]} has an impossible shape or place")
    begin, end = offsets
    if end - begin != math.prod(shape) * DTYPES[kind][1]:
        raise _damaged(path, f"tensor {name[:80]} of {shape} {kind} has {end - begin} bytes")
    return TensorEntry(name, kind, tuple(shape), path.name, base + begin, base + end)


def _sendable(name: str) -> bool:
    """Whether a name can stand in a path and in a report: no zero byte, no lone surrogate."""
    return not any(c == "\0" or 0xD800 <= ord(c) < 0xE000 for c in name)


def _naturals(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 1 << 62 for v in value)


def _unique_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _damaged(path: Path, what: str, code: str = "shard_damaged") -> CheckpointError:
    return CheckpointError(code, f"{path.name} is damaged: {what}", _AGAIN)
