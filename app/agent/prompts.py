"""The texts that are put before a conversation."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from app.events import RunSettings

_FOLDER = Path(__file__).parents[2] / "resources" / "prompts"


def system_prompt(settings: RunSettings) -> str:
    """The person's own system prompt, or ours."""
    return settings.system_prompt or _read("system")


@cache
def _read(name: str) -> str:
    return (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").strip()


def title_of(text: str) -> str:
    """A conversation's name from its first message: one line, at most 48 characters."""
    line = " ".join(text.split())
    if len(line) <= 48:
        return line
    cut = line[:48].rsplit(" ", 1)[0] if " " in line[24:48] else line[:48]
    return cut.rstrip(" ,.;:") + "…"
