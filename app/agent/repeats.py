"""Calls that come again and again with the same result: seen, told, refused, and at last an end.

Stages, each an event: the second time the model is told in the result, and an engine that can
forbid calls, as ours, does not let it write that one again; elsewhere the call is not run from the
third time on and the result says why; when it insists, the next step samples at another
temperature; when that does not help either, the run concludes. A step with a call that is new
starts over.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from itertools import takewhile

from app.agent.notes import CHANGED
from app.state import Step, ToolRun, Turn
from engine.protocol import canonical_arguments

WINDOW = 24
"""Calls that are looked back on: within them a repetition counts, whatever lies between."""
_REFUSED_AFTER = 2
_HEATED, _CONCLUDED = 2, 3

_TOLD = (
    "\n\n(Note from the program: this is the same result as the last time this exact call was made."
    " It will not be run a third time; do something else, or answer.)"
)
REFUSED = (
    "this exact call was made {count} times and gave the same result each time, which is above. "
    "Do something else, or answer with what is known"
)

Key = tuple[str, str]
"""A tool's name and its arguments in canonical form."""


def key_of(name: str, arguments: str) -> Key:
    """Calls that differ only in spacing and in the order of keys have the same."""
    return name, canonical_arguments(arguments)


def heated(temperature: float | None) -> float:
    """Another temperature than the one that led into a loop."""
    usual = 1.0 if temperature is None else temperature
    return 0.8 if usual > 1.2 else max(0.7, usual + 0.3)


def _refused(step: Step) -> bool:
    """Whether a step brought nothing but refused calls."""
    begin = f"error: not run: {REFUSED.partition('{')[0]}"
    return bool(step.tools) and all(tool.result.startswith(begin) for tool in step.tools)


def as_returned(tool: ToolRun) -> str:
    """A result as it was before the program and a person added to it."""
    result = tool.result if tool.returned is None else tool.returned
    if tool.written is not None:
        result = result.removeprefix(CHANGED)
    return result.removesuffix(_TOLD)


class Repeats:
    """What was called of late on one run."""

    def __init__(self) -> None:
        self._past: deque[tuple[Key, int]] = deque(maxlen=WINDOW)
        self._fresh = False
        self._refused = False
        self._stuck = 0

    @classmethod
    def of(cls, turn: Turn) -> Repeats:
        """As it was when the turn was cut off."""
        made = cls()
        for step in turn.steps[-WINDOW:]:
            for tool in step.tools:
                tried = tool.started or (tool.problem and step.purpose == "act")
                if tried and tool.status in ("ok", "error") and not tool.undone:
                    made.ended(key_of(tool.name, tool.arguments), as_returned(tool))
        made.end_step()
        made._stuck = sum(1 for _ in takewhile(_refused, reversed(turn.steps)))
        return made

    def count(self, key: Key) -> int:
        """How often it was made with the result it had last."""
        results = [result for one, result in self._past if one == key]
        return sum(result == results[-1] for result in results) if results else 0

    def forbidden(self) -> tuple[Key, ...]:
        """Those that would be refused."""
        keys = dict.fromkeys(key for key, _ in self._past)
        return tuple(key for key in keys if self.count(key) >= _REFUSED_AFTER)

    def refuse(self, keys: Iterable[Key]) -> list[int]:
        """For the calls of one reply: 0 to run it, else how often it was made before."""
        here: Counter[Key] = Counter()
        verdicts = []
        for key in keys:
            before = self.count(key) + here[key]
            here[key] += 1
            verdicts.append(before if before >= _REFUSED_AFTER else 0)
            self._refused = self._refused or before >= _REFUSED_AFTER
            self._fresh = self._fresh or before == 0
        return verdicts

    def ended(self, key: Key, result: str) -> tuple[str, int]:
        """Take a call's result: the text for the model, and how often it was the same."""
        self._past.append((key, hash(result)))
        times = self.count(key)
        return (result + _TOLD if times == 2 else result), times

    def end_step(self) -> int:
        """How many steps in a row brought nothing but refused calls."""
        if self._fresh:
            self._stuck = 0
        elif self._refused:
            self._stuck += 1
        self._fresh = self._refused = False
        return self._stuck

    @property
    def stuck(self) -> bool:
        """Whether the next step should be sampled differently."""
        return self._stuck >= _HEATED

    @property
    def hopeless(self) -> bool:
        """Whether the run should conclude."""
        return self._stuck >= _CONCLUDED

    def forget(self, key: Key) -> None:
        """Its result is out of the model's sight, so making it again is no repetition."""
        self._past = deque((one for one in self._past if one[0] != key), maxlen=WINDOW)
