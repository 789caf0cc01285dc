"""What is in a checkpoint folder."""

from __future__ import annotations

import msgspec


class InspectRequest(msgspec.Struct, frozen=True):
    """``POST /engine/inspect``."""

    path: str


class FolderProblem(msgspec.Struct, frozen=True):
    """Something wrong with a checkpoint folder; ``count`` more of the same kind were left out."""

    code: str
    message: str
    hint: str = ""
    more: int = 0


class FolderReport(msgspec.Struct, frozen=True):
    """What is in a folder, without loading it. Bytes on disk; parameters as the model counts."""

    path: str
    complete: bool
    """Whether the engine can load it."""
    family: str | None = None
    layers: int = 0
    routed_experts: int = 0
    experts_per_token: int = 0
    context_length: int = 0
    parameters: int = 0
    active_parameters: float = 0
    bytes_by_part: dict[str, int] = {}
    shards: int = 0
    total_bytes: int = 0
    expert_format: str = ""
    tokenizer: bool = False
    chat_template: bool = False
    problems: tuple[FolderProblem, ...] = ()
