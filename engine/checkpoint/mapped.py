"""Memory-mapped checkpoints: tensors are read-only views of the files' own bytes."""

from __future__ import annotations

import math
import mmap
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from engine.checkpoint.headers import INDEX, Shard, TensorEntry, read_shard, read_shards
from engine.errors import CheckpointError

__all__ = ["INDEX", "MappedCheckpoint", "read_shard"]

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class MappedCheckpoint:
    """All tensors of a folder by name. Views stay valid while this object or they live."""

    def __init__(self, folder: Path, shards: dict[str, Shard], entries: dict[str, TensorEntry]):
        self.folder = folder
        self._shards = shards
        self._entries = entries
        self._maps: dict[str, mmap.mmap] = {}
        self._bytes: dict[str, Tensor] = {}

    @classmethod
    def open(cls, folder: Path) -> MappedCheckpoint:
        """Read index and headers; maps nothing yet. Raises CheckpointError."""
        shards, entries = read_shards(folder)
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
        dtype = DTYPES[entry.dtype]
        if math.prod(entry.shape) == 0:
            return torch.empty(entry.shape, dtype=dtype)
        flat = self._file(entry.file)[entry.begin : entry.end]
        if flat.numel() < entry.nbytes:
            raise CheckpointError(
                "shard_truncated",
                f"{entry.file} has become shorter since its header was read",
                "do not change a model's files while they are in use; download the file again",
            )
        # Kernels load aligned words; published files are aligned, an odd one is copied.
        aligned = flat if entry.begin % dtype.itemsize == 0 else flat.clone()
        return aligned.view(dtype).view(entry.shape)

    def read(self, entries: Iterable[TensorEntry]) -> list[bytes]:
        """The bytes of small tensors that lie scattered: read, not mapped.

        A fault in a map reads ahead, and many of them would pull in most of a cold file.
        Raises CheckpointError.
        """
        handles: dict[str, int] = {}
        try:
            values = []
            for entry in entries:
                handle = handles.get(entry.file)
                if handle is None:
                    handle = handles[entry.file] = os.open(self.folder / entry.file, os.O_RDONLY)
                    if hasattr(os, "posix_fadvise"):
                        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_RANDOM)
                values.append(os.pread(handle, entry.nbytes, entry.begin))
            return values
        except OSError as error:
            raise CheckpointError(
                "unreadable", f"{entry.file}: {error.strerror or error}", "check the disk"
            ) from error
        finally:
            for handle in handles.values():
                os.close(handle)

    def release(self) -> None:
        """Take every page out of this process's memory; the next use brings it back.

        Pages stay in the system's cache as long as there is room. Any thread, at any time.
        """
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped in self._maps.values():
                mapped.madvise(mmap.MADV_DONTNEED)

    @property
    def files(self) -> list[Path]:
        """The shards."""
        return [s.path for s in self._shards.values()]

    def _file(self, file: str) -> Tensor:
        """A mapped file's bytes, uint8 [size]."""
        whole = self._bytes.get(file)
        if whole is None:
            with (self.folder / file).open("rb") as handle:
                self._maps[file] = mapped = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
            with warnings.catch_warnings():
                # Nothing writes to weights, and a private writable map would count as memory.
                warnings.filterwarnings("ignore", message="The given buffer is not writable")
                whole = self._bytes[file] = torch.frombuffer(mapped, dtype=torch.uint8)
        return whole
