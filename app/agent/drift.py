"""Signs that a run loses its way; shown to the person, not told to the model."""

from __future__ import annotations

from collections.abc import Sequence

from app import events as ev
from app.agent import history
from app.state import Step

_LOOK_BACK = 10
_THOUGHT = 160
"""Characters of a reasoning's beginning by which it is known again."""


class Drift:
    """Looks at the last steps after each; tells the same thing once in ``_LOOK_BACK`` steps."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    @classmethod
    def of(cls, steps: Sequence[Step]) -> Drift:
        """As it was when the turn was cut off: what was told then is not told again."""
        made = cls()
        for here in range(1, len(steps) + 1):
            made.seen(steps[:here])
        return made

    def seen(self, steps: Sequence[Step]) -> list[ev.DriftSeen]:
        """What is new to be told of the steps so far."""
        here = len(steps)
        found = [
            sign
            for sign in signs(steps[-_LOOK_BACK:])
            if here - self._told.get(sign.code, -_LOOK_BACK) >= _LOOK_BACK
        ]
        self._told.update((sign.code, here) for sign in found)
        return found


def signs(steps: Sequence[Step]) -> list[ev.DriftSeen]:
    """Of a stretch of steps."""
    found = []
    results = [tool.status for step in steps for tool in step.tools]
    failed = sum(status == "error" for status in results)
    if len(results) >= 8 and failed >= 0.8 * len(results):
        text = f"{failed} of the last {len(results)} tool calls failed"
        found.append(ev.DriftSeen("errors", text))
    thoughts = [" ".join(history.thought_of(step).split())[:_THOUGHT] for step in steps]
    same = thoughts.count(thoughts[-1]) if thoughts else 0
    if same >= 3 and len(thoughts[-1]) >= 40:
        text = f"{same} of the last {len(thoughts)} steps began with the same thoughts"
        found.append(ev.DriftSeen("same_thoughts", text))
    return found
