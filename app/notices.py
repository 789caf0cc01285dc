"""What a person should be told when the window opens, though nothing failed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notice:
    """Something was put right on its own; ``hint`` says where the old thing is or what to do."""

    code: str
    message: str
    hint: str = ""
