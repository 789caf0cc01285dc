"""Which tensor goes into which shard, and where: headers and index before any data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from engine.checkpoint.headers import WIDTHS
from engine.checkpoint.names import Expected, expected_tensors, prediction_tensors
from engine.config import ModelConfig

_SHARD_BYTES = 4 << 30
_MOST_SHARDS = 62
"""Folders too large for shards of `_SHARD_BYTES` get larger ones, as the published K2 has."""
_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Placed:
    """A tensor to be written: bytes `begin`..`end` of its shard's file."""

    item: Expected
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One file: its header's bytes and its tensors in the order of their offsets."""

    file: str
    header: bytes
    tensors: tuple[Placed, ...]
    size: int


def plan_shards(config: ModelConfig) -> list[ShardPlan]:
    """Every tensor of a checkpoint of this shape, in its published dtype."""
    items = list(expected_tensors(config))
    if config.predicts:
        items += prediction_tensors(config)
    limit = max(_SHARD_BYTES, sum(map(nbytes, items)) // _MOST_SHARDS)
    groups = list(_groups(items, limit))
    return [
        _plan(f"model-{i + 1:05}-of-{len(groups):05}.safetensors", group)
        for i, group in enumerate(groups)
    ]


def index_of(shards: list[ShardPlan]) -> dict[str, object]:
    """What ``model.safetensors.index.json`` says of them."""
    placed = [(t, shard.file) for shard in shards for t in shard.tensors]
    return {
        "metadata": {"total_size": sum(t.end - t.begin for t, _ in placed)},
        "weight_map": {t.item.name: file for t, file in placed},
    }


def nbytes(item: Expected) -> int:
    """Bytes of a tensor in its published dtype."""
    return prod(item.shape) * WIDTHS[item.dtypes[0]]


def _groups(items: list[Expected], limit: int) -> Iterator[list[Expected]]:
    group: list[Expected] = []
    size = 0
    for item in items:
        if group and size + nbytes(item) > limit:
            yield group
            group, size = [], 0
        group.append(item)
        size += nbytes(item)
    yield group


def _plan(file: str, items: list[Expected]) -> ShardPlan:
    # Small tensors first, so that reading all of them touches few pages; then the widest
    # elements, so that everything is aligned without gaps.
    items = sorted(items, key=lambda i: (not i.name.endswith("_shape"), -WIDTHS[i.dtypes[0]]))
    at = 0
    described: dict[str, object] = {"__metadata__": {"format": "pt"}}
    for item in items:
        end = at + nbytes(item)
        described[item.name] = {
            "dtype": item.dtypes[0],
            "shape": item.shape,
            "data_offsets": (at, end),
        }
        at = end
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    header = len(text).to_bytes(8, "little") + text
    placed, at = [], len(header)
    for item in items:
        placed.append(Placed(item, at, at + nbytes(item)))
        at += nbytes(item)
    return ShardPlan(file, header, tuple(placed), at)
