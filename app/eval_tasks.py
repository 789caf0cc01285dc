"""Held-out tasks for a model: what they are and how an answer is checked.

The tasks of a model lie in ``resources/eval/NAME.json``. A task is one question over a folder of
files; it is right if the final answer holds every expected string as a whole token.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import msgspec

TASKS = Path(__file__).parents[1] / "resources" / "eval"


class EvalTask(msgspec.Struct, frozen=True):
    """One question. ``expect``: all must occur; alternatives within one are parted by ``|``."""

    id: str
    family: str
    prompt: str
    expect: tuple[str, ...]
    tools: tuple[str, ...]
    files: dict[str, str] = {}
    unseen: tuple[str, ...] = ()
    """The held-out parts of its phrasing."""
    calls: bool = True
    """False: a right run calls no tool."""


class EvalSet(msgspec.Struct, frozen=True):
    """The held-out tasks of one model."""

    name: str
    seed: int
    tasks: tuple[EvalTask, ...]


def load_tasks(name: str, folder: Path = TASKS) -> EvalSet:
    """Reads a task set. Raises FileNotFoundError and msgspec.ValidationError."""
    return msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=EvalSet)


def normalised(text: str) -> str:
    """Lower case, plain apostrophes, 1,234 as 1234 and 2.50 as 2.5."""
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text.lower().replace("\u2019", "'"))
    return re.sub(r"\d+\.\d+", lambda m: m[0].rstrip("0").rstrip("."), text)


NUMBER = re.compile(r"(?<![\w.])(?:(?<!\S)-)?\d+(?:\.\d+)?(?!\w|\.\d)")
"""A number that stands alone; a minus counts where it is a sign, not between two numbers."""


def holds(answer: str, expected: str) -> bool:
    """Whether one of the alternatives in ``expected`` occurs in ``answer`` as a whole token.

    Numbers compare by value, to nine digits.
    """
    said = normalised(answer)
    return any(_occurs(said, normalised(option)) for option in expected.split("|"))


def _occurs(said: str, option: str) -> bool:
    if NUMBER.fullmatch(option) and not re.match(r"-?0\d", option):
        value = float(option)
        return any(math.isclose(float(n), value, rel_tol=1e-9) for n in NUMBER.findall(said))
    return re.search(rf"(?<!\w){re.escape(option)}(?!\w|\.\d)", said) is not None


def is_right(answer: str, expect: tuple[str, ...]) -> bool:
    """Whether ``answer`` holds everything expected."""
    return all(holds(answer, expected) for expected in expect)
