"""What an engine says of itself first."""

from __future__ import annotations

import msgspec

PROTOCOL = 1


class Ready(msgspec.Struct, frozen=True):
    """The one JSON line the engine prints when it listens."""

    port: int
    pid: int
    protocol: int = PROTOCOL


class ModelCard(msgspec.Struct, frozen=True):
    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = "selenograph"
    context_length: int = 0


class ModelList(msgspec.Struct, frozen=True):
    data: tuple[ModelCard, ...]
    object: str = "list"
