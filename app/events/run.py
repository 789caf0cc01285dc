"""What a turn is run with; stored with it, so that it can be run again."""

from __future__ import annotations

from typing import Literal

import msgspec

Effort = Literal["fast", "standard", "deep", "exam", "search", "heavy"]


class Budget(msgspec.Struct, frozen=True):
    """Limits of one turn; 0 means no limit. Tokens are completion tokens over all steps."""

    steps: int = 50
    tokens: int = 0
    seconds: float = 0.0
    step_tokens: int = 0
    """Completion tokens of a single model call; 0: what the context leaves."""
    thinking: int = 0
    """Reasoning tokens over all steps."""
    step_thinking: int = 0
    """Reasoning tokens of a single model call."""
    tool_seconds: float = 0.0
    """Time in tools, those side by side counted once."""
    cost: float = 0.0
    """In the currency of the endpoint's prices."""


class Unattended(msgspec.Struct, frozen=True):
    """What may run with nobody there: calls that a pattern of ``allow`` covers
    (:mod:`app.trust.pattern`). ``otherwise``: what becomes of other calls that ask.
    """

    allow: tuple[str, ...] = ()
    until: float = 0.0
    """Unix time in seconds; 0: as long as the run."""
    otherwise: Literal["ask", "deny"] = "deny"


NOBODY = Unattended()
"""Every call that would ask is denied."""


class RunSettings(msgspec.Struct, frozen=True):
    """What a turn is run with; stored with the turn so that it can be run again."""

    backend: str = "local"
    """``local`` (our engine) or the id of a remote endpoint in the settings."""
    model: str = ""
    effort: Effort = "standard"
    tools: tuple[str, ...] = ("calculator", "python", "list_files", "read_file", "search_files")
    budget: Budget = Budget()
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    system_prompt: str = ""
    context: int = 0
    """Tokens of the window that may be used; 0: what the model has."""
    lanes: int = 8
    """With the effort ``heavy``: how many trajectories run side by side."""
