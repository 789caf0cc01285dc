"""How a person wants a model loaded: what they chose of an engine's load request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from app.errors import ConfigError
from engine.protocol import LoadRequest, Natural, PlanRequest, SnapshotOptions


class EngineOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """As in :class:`engine.protocol.LoadRequest`, which says what each means."""

    max_context: Natural = 0
    dense: Literal["auto", "published", "int8", "int4"] = "auto"
    threads: Natural = 0
    device: Literal["auto", "cpu"] = "auto"
    cache_bytes: Natural = 0
    cache_form: Literal["auto", "float32", "bf16", "int8"] = "auto"
    expert_memory_bytes: Natural | None = None
    expert_policy: Literal["lfu", "lru"] = "lfu"
    expert_reading: Literal["auto", "map", "direct"] = "auto"
    read_ahead: Literal["auto", "on", "off"] = "auto"
    hot_experts: Natural | None = None
    deferred_experts: Natural = 0
    stream_from: Natural | None = None
    mode: Literal["auto", "exact", "fast"] = "auto"
    isa: str = "auto"
    speculation: Literal["auto", "mtp", "off"] = "auto"


def load_request(
    model: Path, options: EngineOptions, snapshots: SnapshotOptions | None = None
) -> LoadRequest:
    """What the engine is asked."""
    return LoadRequest(str(model), snapshots=snapshots, **msgspec.structs.asdict(options))


def plan_request(model: Path, options: EngineOptions) -> PlanRequest:
    """What the planner is asked: the model loaded so on this machine."""
    return PlanRequest(
        str(model),
        context=options.max_context,
        dense="published" if options.dense == "auto" else options.dense,
        device=options.device,
        threads=options.threads,
        expert_memory_bytes=options.expert_memory_bytes or 0,
    )


def options_with(options: EngineOptions, assignments: Sequence[str]) -> EngineOptions:
    """``options`` with some of them set by ``NAME=VALUE``. Raises ConfigError ``bad_option``."""
    values: dict[str, object] = dict(msgspec.structs.asdict(options))
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or name not in values:
            raise ConfigError(
                "bad_option",
                f"{assignment!r} sets no option of the engine",
                f"NAME=VALUE with one of {', '.join(values)}",
            )
        values[name] = value
    return _options_of(values)


def _options_of(values: Mapping[str, object]) -> EngineOptions:
    try:
        return msgspec.convert(values, EngineOptions, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError("bad_option", f"an option of the engine is wrong: {error}") from error
