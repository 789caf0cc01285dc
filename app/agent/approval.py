"""Who lets a tool call run: rules first, then a person at the desk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from app.errors import RequestError
from app.events import Decision

By = Literal["person", "rule", "unattended"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was decided about one call."""

    decision: Decision
    reason: str = ""
    by: By = "person"

    @property
    def allowed(self) -> bool:
        return self.decision != "deny"


class Desk:
    """Calls that wait for a person. On the core's loop."""

    def __init__(self) -> None:
        self._waiters: dict[tuple[str, str], asyncio.Future[Answer]] = {}

    async def wait(self, conversation: str, call: str) -> Answer:
        """Wait for :meth:`answer`; cancelled with the run."""
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiters[conversation, call] = waiter
        try:
            return await waiter
        finally:
            del self._waiters[conversation, call]

    def answer(self, conversation: str, call: str, answer: Answer) -> None:
        """Raises RequestError ``not_waiting`` when nobody waits for it (any more)."""
        waiter = self._waiters.get((conversation, call))
        if waiter is None or waiter.done():
            raise RequestError("not_waiting", f"the call {call} does not wait for a decision")
        waiter.set_result(answer)


@dataclass(slots=True)
class Rules:
    """What need not be asked in one run.

    ``always`` reads the tools that a person allowed for good, ``remember`` adds one. In a run
    that nobody watches, ``unattended`` decides instead of a person.
    """

    always: Callable[[], tuple[str, ...]]
    remember: Callable[[str], None]
    unattended: Decision | None = None
    run: set[str] = field(default_factory=set)

    def answer(self, tool: str) -> Answer | None:
        """The rule's answer, or None: a person has to be asked."""
        if tool in self.always():
            return Answer("always", by="rule")
        if tool in self.run:
            return Answer("run", by="rule")
        if self.unattended is not None:
            reason = "nobody is there to allow it" if self.unattended == "deny" else ""
            return Answer(self.unattended, reason, by="unattended")
        return None

    def learn(self, tool: str, answer: Answer) -> None:
        """Take a person's answer as a rule where it was meant as one."""
        if answer.decision == "run":
            self.run.add(tool)
        elif answer.decision == "always":
            self.remember(tool)
