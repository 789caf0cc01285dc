"""What a person is shown of the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.protocol import EngineStatus, LoadRequest

Phase = Literal["off", "starting", "loading", "ready", "lost", "failed"]


@dataclass(frozen=True, slots=True)
class EngineView:
    """``lost``: the process ended unasked; ``failed``: it runs (or never came up) without a model.

    ``exit_code`` and ``signal`` (its name, e.g. SIGKILL) say how a lost process ended.
    """

    phase: Phase = "off"
    status: EngineStatus | None = None
    message: str = ""
    hint: str = ""
    exit_code: int | None = None
    signal: str = ""
    log_tail: tuple[str, ...] = ()
    restarts: int = 0
    request: LoadRequest | None = None
    """How what is loaded, or was to be, was asked for."""
