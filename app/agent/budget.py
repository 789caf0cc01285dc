"""Limits of a turn: steps, tokens, seconds; and what the effort presets mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from app.errors import BudgetSpent
from app.events import Budget, Effort, RunSettings

PRESETS: dict[Effort, Budget] = {
    "fast": Budget(steps=8, step_tokens=2_048),
    "standard": Budget(steps=50, step_tokens=16_384),
    "deep": Budget(steps=300),
}
"""``deep`` leaves a reply as long as the context does, as the model's publishers run it."""

_HINT = "raise the limit or choose a higher effort, then resume"


def budget_of(settings: RunSettings) -> Budget:
    """The turn's own budget where one was given, else its effort's."""
    return PRESETS[settings.effort] if settings.budget == Budget() else settings.budget


class Meter:
    """What a turn has used. Its clock stands still while a person is asked."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._steps = 0
        self._tokens = 0
        self._timeout: asyncio.Timeout | None = None

    def begin_step(self) -> None:
        """Count a step. Raises BudgetSpent if there is none left, of steps or of tokens."""
        if self._budget.steps and self._steps >= self._budget.steps:
            raise BudgetSpent("steps", f"the limit of {self._budget.steps} steps is reached", _HINT)
        if self._tokens_left == 0:
            raise BudgetSpent(
                "tokens", f"the limit of {self._budget.tokens} tokens is reached", _HINT
            )
        self._steps += 1

    def add_tokens(self, tokens: int) -> None:
        self._tokens += tokens

    @property
    def _tokens_left(self) -> int | None:
        return max(0, self._budget.tokens - self._tokens) if self._budget.tokens else None

    @property
    def max_tokens(self) -> int | None:
        """The limit of the next reply; None: what the context leaves."""
        limits = [n for n in (self._budget.step_tokens or None, self._tokens_left) if n]
        return min(limits, default=None)

    @asynccontextmanager
    async def clock(self) -> AsyncIterator[None]:
        """Raises BudgetSpent when the block takes longer than the budget's seconds."""
        seconds = self._budget.seconds
        try:
            async with asyncio.timeout(seconds or None) as timeout:
                self._timeout = timeout
                yield
        except TimeoutError:
            if not timeout.expired():
                raise
            raise BudgetSpent("seconds", f"the limit of {seconds:g} s is reached", _HINT) from None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The block's time is not counted."""
        timeout = self._timeout
        deadline = timeout.when() if timeout else None
        if timeout is None or deadline is None or timeout.expired():
            yield
            return
        clock = asyncio.get_running_loop().time
        left = deadline - clock()
        timeout.reschedule(None)
        try:
            yield
        finally:
            timeout.reschedule(clock() + left)
