"""What a generated task is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .tools import World


@dataclass(slots=True)
class Step:
    """One reply with a call, and its result."""

    reasoning: str
    tool: str
    arguments: dict[str, Any]
    result: str


@dataclass(slots=True)
class Turn:
    """A user's message and how the agent deals with it.

    `expect` holds what a right answer contains, `unseen` the held-out parts of the phrasing.
    """

    family: str
    user: str
    steps: list[Step] = field(default_factory=list)
    reasoning: str = ""
    answer: str = ""
    expect: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    def use(self, world: World, reasoning: str, tool: str, **arguments: Any) -> str:
        """Appends a step carried out in `world`; returns the result."""
        result = world.call(tool, arguments)
        self.steps.append(Step(reasoning, tool, arguments, result))
        return result

    def finish(self, reasoning: str, answer: str, *expect: str) -> Turn:
        """Sets the closing reply."""
        self.reasoning, self.answer, self.expect = reasoning, answer, expect
        return self


@dataclass(slots=True)
class Dialogue:
    """Turns over one world."""

    world: World
    turns: list[Turn]
