"""A look at numbers, not only at headers: scales, norms and shape records of a whole folder.

One scale that is no number spoils every answer, and nothing else would tell where it lies. Scales
are a ninth of an INT4 checkpoint; they are read file by file in the order of their places, so that
a disk reads forward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from itertools import groupby
from pathlib import Path

import numpy as np

from engine.checkpoint.headers import AGAIN, TensorEntry
from engine.checkpoint.names import Expected, expected_tensors, expert_shapes
from engine.config import ModelConfig
from engine.errors import CheckpointError

_CHUNK = 8 << 20
_SPECIAL = {"BF16": ("<u2", 0x7F80), "F16": ("<u2", 0x7C00), "F32": ("<u4", 0x7F80_0000)}
"""The bits that are all set in infinities and in what is not a number."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A tensor whose content cannot be right."""

    code: str
    message: str


def check_content(
    folder: Path,
    config: ModelConfig,
    entries: dict[str, TensorEntry],
    progress: Callable[[float], None] = lambda share: None,
) -> Iterator[Wrong]:
    """Read what is small and decides much. Raises CheckpointError when a file cannot be read."""
    shapes, buffer = expert_shapes(config), memoryview(bytearray(_CHUNK))
    chosen = [
        entries[item.name]
        for item in expected_tensors(config)
        if item.name in entries and _is_checked(item)
    ]
    chosen.sort(key=lambda e: (e.file, e.begin))
    done, total = 0, sum(e.nbytes for e in chosen)
    for name, group in groupby(chosen, key=lambda e: e.file):
        with _opened(folder / name) as file:
            for entry in group:
                pieces = _pieces(file, entry, buffer)
                if entry.name.endswith("weight_shape"):
                    yield from _check_record(entry, b"".join(pieces), shapes)
                elif entry.dtype in _SPECIAL:
                    yield from _check_numbers(entry, pieces)
                done += entry.nbytes
                progress(done / total)


def _is_checked(item: Expected) -> bool:
    small = item.part in ("norms", "router")
    return small or item.name.endswith(("_scale", "_scale_inv", "weight_shape"))


@contextmanager
def _opened(path: Path) -> Iterator[FileIO]:
    try:
        with FileIO(path) as file:
            yield file
    except OSError as error:
        raise CheckpointError(
            "unreadable", f"{path.name}: {error.strerror or error}", "check the disk"
        ) from error


def _pieces(file: FileIO, entry: TensorEntry, buffer: memoryview) -> Iterator[memoryview]:
    """A tensor's bytes, each piece valid until the next is taken. Raises CheckpointError."""
    file.seek(entry.begin)
    left = entry.nbytes
    while left:
        piece = buffer[: min(len(buffer), left)]
        if file.readinto(piece) < len(piece):
            raise CheckpointError(
                "shard_truncated", f"{entry.file} ends before {entry.name} does", AGAIN
            )
        yield piece
        left -= len(piece)


def _check_numbers(entry: TensorEntry, pieces: Iterator[memoryview]) -> Iterator[Wrong]:
    kind, mask = _SPECIAL[entry.dtype]
    count = 0
    for piece in pieces:
        bits = np.frombuffer(piece, np.dtype(kind)) & mask
        count += int((bits == mask).sum())
    if count:
        values = "value that is" if count == 1 else "values that are"
        message = f"{entry.name} in {entry.file} holds {count:,} {values} NaN or infinite"
        yield Wrong("not_a_number", message)


def _check_record(
    entry: TensorEntry, content: bytes, shapes: dict[str, tuple[int, int]]
) -> Iterator[Wrong]:
    want = shapes[entry.name.split(".")[-2]]
    told = np.frombuffer(content, np.int64 if entry.dtype == "I64" else np.int32)
    if tuple(told.tolist()) != want:
        message = f"{entry.name} says {told.tolist()[:4]}, config.json wants {list(want)}"
        yield Wrong("wrong_shape", message)
