"""Who lets a tool call run: rules first, then a person at the desk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from app.errors import RequestError
from app.events import Decision, Unattended
from app.tools.base import FormReply
from app.trust.call import Wanted
from app.trust.policy import Reason, Rule, allowing, denied

By = Literal["person", "rule", "unattended", "guard"]

_ABSENT = "nobody is there to allow it"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was decided about one call. ``rule``: the pattern that decided, or is to be kept."""

    decision: Decision
    reason: str = ""
    by: By = "person"
    rule: str = ""

    @property
    def allowed(self) -> bool:
        return self.decision != "deny"


class Desk:
    """Calls that wait for a person. On the core's loop."""

    def __init__(self) -> None:
        self._waiters: dict[tuple[str, str], asyncio.Future[Answer]] = {}
        self._forms: dict[tuple[str, str], asyncio.Future[FormReply]] = {}

    async def wait(self, conversation: str, call: str) -> Answer:
        """Wait for an answer to the :meth:`waiter`; cancelled with the run."""
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiters[conversation, call] = waiter
        try:
            return await waiter
        finally:
            del self._waiters[conversation, call]

    def waiter(self, conversation: str, call: str) -> asyncio.Future[Answer]:
        """Raises RequestError ``not_waiting`` when nobody waits for an answer (any more)."""
        if not self.waits(conversation, call):
            raise RequestError("not_waiting", f"the call {call} does not wait for a decision")
        return self._waiters[conversation, call]

    def waits(self, conversation: str, call: str) -> bool:
        """Whether a person's answer is still to come."""
        found = self._waiters.get((conversation, call))
        return found is not None and not found.done()

    async def wait_form(self, conversation: str, form: str) -> FormReply:
        """Wait for :meth:`answer_form`; cancelled with the call."""
        waiter: asyncio.Future[FormReply] = asyncio.get_running_loop().create_future()
        self._forms[conversation, form] = waiter
        try:
            return await waiter
        finally:
            del self._forms[conversation, form]

    def answer_form(self, conversation: str, form: str, reply: FormReply) -> None:
        """Raises RequestError ``not_waiting`` when nobody waits for it (any more)."""
        waiter = self._forms.get((conversation, form))
        if waiter is None or waiter.done():
            raise RequestError("not_waiting", f"the form {form} does not wait for an answer")
        waiter.set_result(reply)


@dataclass(slots=True)
class Rules:
    """What need not be asked in one run.

    ``kept`` reads the person's rules, ``keep`` adds one; ``unattended`` reads the scope in which
    the run goes on with nobody there, if there is one.
    """

    kept: Callable[[], tuple[Rule, ...]]
    keep: Callable[[Rule], None]
    unattended: Callable[[], Unattended | None]
    run: list[str] = field(default_factory=list)
    """Patterns that the person allowed for this run."""

    def forbids(self, call: Wanted) -> Answer | None:
        """The answer of a rule that denies it."""
        found = denied(call, self.kept())
        if found is None:
            return None
        reason = found.reason or f"the user's rule {found.pattern} forbids it"
        return Answer("deny", reason, "rule", found.pattern)

    def answer(self, call: Wanted, reasons: tuple[Reason, ...]) -> Answer | None:
        """The rules' answer to the reasons for asking; None: a person has to be asked."""
        pattern = allowing(call, reasons, self.run, waives=("rule",))
        if pattern:
            return Answer("run", by="rule", rule=pattern)
        allow = tuple(rule.pattern for rule in self.kept() if rule.decision == "allow")
        pattern = allowing(call, reasons, allow)
        if pattern:
            return Answer("always", by="rule", rule=pattern)
        scope = self.present()
        if scope is None:
            return None
        pattern = allowing(call, reasons, scope.allow, waives=("doubt",))
        if pattern:
            return Answer("once", by="unattended", rule=pattern)
        if scope.otherwise == "ask":
            return None
        strange = [reason.text for reason in reasons if reason.why != "tool"]
        return Answer("deny", "; ".join((_ABSENT, *strange)), "unattended")

    def present(self) -> Unattended | None:
        """The scope that is in force now."""
        scope = self.unattended()
        if scope is None or (scope.until and time.time() >= scope.until):
            return None
        return scope

    def learn(self, answer: Answer) -> None:
        """Take a person's answer as a rule where it was meant as one."""
        if not answer.rule:
            return
        if answer.decision == "run":
            self.run.append(answer.rule)
        elif answer.decision == "always":
            self.keep(Rule(answer.rule, made=round(time.time(), 3)))
