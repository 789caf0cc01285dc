"""A tool that fails the same way again and again rests for some steps."""

from __future__ import annotations

from app import events as ev
from app.agent.repeats import as_returned
from app.state import Turn

FAILURES = 5
REST = 5
_SAME = 80
"""Characters of an error by which it is known again: a search for the right path is no defect."""


class Breaker:
    """On one run. Steps are counted by their index."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[str, int]] = {}
        self._until: dict[str, int] = {}

    @classmethod
    def of(cls, turn: Turn) -> Breaker:
        """As it was when the turn was cut off."""
        made = cls()
        for step in turn.steps:
            for tool in step.tools:
                if tool.started and tool.status in ("ok", "error"):
                    error = as_returned(tool) if tool.status == "error" else ""
                    made.ended(tool.name, error, step.index)
        return made

    def resting(self, name: str, step: int) -> str:
        """Why a call is not run in a step; empty: it is."""
        until = self._until.get(name, 0)
        if step >= until:
            return ""
        _, count = self._failures[name]
        return (
            f"{name} is not available for the next {until - step} step(s): it failed {count} times "
            "in a row with the same error. Use another tool, or do without"
        )

    def ended(self, name: str, error: str, step: int) -> ev.ToolUnavailable | None:
        """Take a call's error (empty: it went well)."""
        if not error:
            self._failures.pop(name, None)
            self._until.pop(name, None)
            return None
        before, count = self._failures.get(name, ("", 0))
        count = count + 1 if before == error[:_SAME] else 1
        self._failures[name] = error[:_SAME], count
        if count < FAILURES:
            return None
        # After the rest one more failure is enough.
        self._until[name] = step + 1 + REST
        return ev.ToolUnavailable(name, count, step + 1 + REST)
