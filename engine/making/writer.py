"""Write a random checkpoint: into a folder beside, which takes its name when it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from engine.checkpoint.headers import INDEX
from engine.checkpoint.names import Expected
from engine.config import ModelConfig
from engine.errors import RequestError, ResourceError
from engine.making.filling import Filler
from engine.making.layout import ShardPlan, index_of, plan_shards
from engine.making.shapes import set_token_ids
from engine.making.vocabulary import padded_vocabulary, write_json, write_text_files

_BLOCK = 4096
"""Disk that even the smallest piece of a sparse file takes."""
Progress = Callable[[int, int], None]


class Source(Protocol):
    """Where the bytes of tensors come from."""

    def chunks(self, item: Expected, size: int) -> Iterator[memoryview]:
        """`size` bytes for a tensor, in pieces that are to be used at once."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is written. ``sparse`` leaves holes, which read as zero, for everything but headers,
    norms, shape records and the first ``fill_experts`` routed experts of each layer."""

    sparse: bool = False
    fill_experts: int = 0
    seed: int = 0

    def fills(self, item: Expected) -> bool:
        """Whether a tensor gets random bytes."""
        if not self.sparse or item.part == "norms" or item.name.endswith("weight_shape"):
            return True
        _, found, rest = item.name.partition(".experts.")
        return bool(found) and int(rest.split(".", 1)[0]) < self.fill_experts


def write_model(
    raw: dict[str, Any],
    out: Path,
    choice: Choice,
    progress: Progress = lambda done, total: None,
    source: Source | None = None,
) -> Path:
    """Write a checkpoint of the shape that `raw`, a config.json, describes; the folder.

    Its tensors are random, or come from `source`.
    Raises CheckpointError (the shape is not supported), RequestError ``exists``, ResourceError
    ``disk_full`` before anything is written. Stopped half-way it leaves nothing.
    """
    config = ModelConfig.from_dict(raw)
    config = replace(config, predicts=bool(raw.get("num_nextn_predict_layers")))
    _require_whole_groups(config)
    ranks, control = padded_vocabulary(config.vocab_size)
    set_token_ids(raw, control)
    shards = plan_shards(config)
    part = out.with_name(out.name + ".part")
    for path in (out, part):
        if path.exists():
            raise RequestError("exists", f"{path} is there already", "remove it or name another")
    total = sum(_bytes_to_write(shard, choice) for shard in shards)
    _require_space(out, total)
    try:
        part.mkdir(parents=True)
        write_json(part / "config.json", raw)
        write_text_files(part, ranks, control)
        source, done = source or Filler(config, choice.seed), 0
        for shard in shards:
            done = _write_shard(part / shard.file, shard, choice, source, done, total, progress)
        write_json(part / INDEX, index_of(shards))
        part.rename(out)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise ResourceError(
            "cannot_write", f"{out}: {error.strerror or error}", "choose another folder"
        ) from error
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return out


def _write_shard(
    path: Path,
    shard: ShardPlan,
    choice: Choice,
    source: Source,
    done: int,
    total: int,
    progress: Progress,
) -> int:
    """Header and tensors of one file; returns how many bytes are written by now."""
    with path.open("wb", buffering=0) as file:
        file.write(shard.header)
        done += len(shard.header)
        for placed in shard.tensors:
            if not choice.fills(placed.item):
                continue
            os.lseek(file.fileno(), placed.begin, os.SEEK_SET)
            for chunk in source.chunks(placed.item, placed.end - placed.begin):
                _write_all(file.fileno(), chunk)
                done += len(chunk)
            progress(done, total)
        file.truncate(shard.size)
    return done


def _write_all(handle: int, chunk: memoryview) -> None:
    while chunk:
        chunk = chunk[os.write(handle, chunk) :]


def _bytes_to_write(shard: ShardPlan, choice: Choice) -> int:
    sizes = [t.end - t.begin for t in shard.tensors if choice.fills(t.item)]
    return len(shard.header) + sum(sizes)


def _require_space(out: Path, needed: int) -> None:
    place = next(p for p in out.absolute().parents if p.exists())
    free = shutil.disk_usage(place).free
    if needed + _BLOCK > free:
        raise ResourceError(
            "disk_full",
            f"the model takes {needed:,} bytes, {place} has {free:,} free",
            "free some space, name a folder on another disk, or make fewer layers",
        )


def _require_whole_groups(config: ModelConfig) -> None:
    quant = config.quantisation
    if quant is None or quant.format != "int4":
        return
    for size in (config.hidden_size, config.moe_intermediate_size):
        if size % quant.group_size:
            raise RequestError(
                "no_whole_groups",
                f"a width of {size} cannot be cut into groups of {quant.group_size}",
                "choose a shape whose hidden and expert widths are multiples of 32",
            )
