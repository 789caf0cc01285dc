"""Limits of a turn, what it has used of them, and what the effort presets mean."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Literal

import msgspec

from app.backends.base import Prices
from app.errors import BudgetSpent
from app.events import Budget, Effort, Limit, RunSettings
from app.state import ModelCall, Step, Turn
from engine.protocol import Usage

PRESETS: dict[Effort, Budget] = {
    "fast": Budget(steps=8, step_tokens=2_048, step_thinking=1_024),
    "standard": Budget(steps=50, step_tokens=16_384, step_thinking=8_192),
    "deep": Budget(steps=300, thinking=98_304),
    "exam": Budget(steps=120, step_thinking=49_152),
    "search": Budget(steps=300, step_thinking=24_576),
    "heavy": Budget(steps=120, step_thinking=49_152),
}
"""The last four are how the model's publishers run it; they leave a reply as long as the context
does."""

NEAR = 0.85
"""The share of a limit from which the model is told of it."""
_SLEPT = 10.0
"""Seconds between two ticks after which the machine or the process must have stood still."""
_TICK, _LEAST_TICK = 1.0, 0.01

_HINT = "raise the limit or choose a higher effort, then resume"
_NAMES: dict[Limit, str] = {
    "steps": "{:,.0f} steps",
    "tokens": "{:,.0f} tokens",
    "thinking": "{:,.0f} thinking tokens",
    "seconds": "{:g} s",
    "tool_seconds": "{:g} s in tools",
    "cost": "{:g} of cost",
}


def budget_of(settings: RunSettings) -> Budget:
    """The turn's own budget where one was given, else its effort's."""
    return PRESETS[settings.effort] if settings.budget == Budget() else settings.budget


@dataclass(slots=True)
class Used:
    """Tokens are completion tokens, ``cost`` is in the endpoint's currency."""

    steps: int = 0
    tokens: int = 0
    thinking: int = 0
    seconds: float = 0.0
    tool_seconds: float = 0.0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Share:
    """How much of one limit is used."""

    limit: Limit
    used: float
    allowed: float

    @property
    def part(self) -> float:
        return self.used / self.allowed

    def words(self) -> str:
        """``43 of 50 steps``."""
        used = f"{self.used:,.2f}" if isinstance(self.used, float) else f"{self.used:,}"
        return f"{used} of {_NAMES[self.limit].format(self.allowed)}"


def spent(share: Share) -> BudgetSpent:
    """The error that ends the steps of a turn."""
    limit = _NAMES[share.limit].format(share.allowed)
    return BudgetSpent(share.limit, f"the limit of {limit} is reached", _HINT)


def used_before(turn: Turn, prices: Prices) -> Used:
    """What a turn that goes on had used; nothing where a limit ended it and a person said go on."""
    used = Used()
    for step in turn.steps[turn.counted_from :]:
        used.steps += step.purpose == "act"
        tools = _in_tools(step)
        used.tool_seconds += tools
        used.seconds += tools
    for call in _calls(turn):
        _add(used, call.usage, prices)
        used.seconds += call.seconds
    return used


def used_by_lanes(turn: Turn, prices: Prices) -> Used:
    """What the lanes of a turn have used together. Times and steps are left out: lanes run side by
    side, so each has its own.
    """
    used = Used()
    for lane in turn.lanes:
        for call in _calls(lane):
            _add(used, call.usage, prices)
    return used


def _in_tools(step: Step) -> float:
    """Seconds in which at least one of its tools ran."""
    found, until = 0.0, 0.0
    for begin, end in sorted((t.started, t.started + t.seconds) for t in step.tools if t.started):
        found += max(0.0, end - max(begin, until))
        until = max(until, end)
    return found


def _calls(turn: Turn) -> Iterator[ModelCall]:
    """Those that count, whatever became of their replies."""
    yield from turn.lost
    for step in turn.steps[turn.counted_from :]:
        yield from step.calls


def _add(used: Used, usage: Usage, prices: Prices) -> None:
    used.tokens += usage.completion_tokens
    used.thinking += usage.completion_tokens_details.reasoning_tokens
    used.cost += prices.cost(usage)


def _least(*limits: int | None) -> int | None:
    return min((n for n in limits if n is not None), default=None)


def since_boot() -> float:
    """A clock that goes on while the machine sleeps; where there is none that nobody sets, the
    one that people do.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.time() if clock is None else time.clock_gettime(clock)


class Meter:
    """What a turn has used. Its clock stands still while a person is asked and while the machine
    sleeps.
    """

    def __init__(
        self,
        budget: Budget,
        on_sleep: Callable[[float], None] = lambda seconds: None,
        whole: Meter | None = None,
    ) -> None:
        """``on_sleep`` hears of seconds that are not counted because nothing ran in them.

        ``whole``: of the turn that this one is a lane of. Its tokens, thinking and cost are those
        of all lanes; steps and times are each lane's own.
        """
        self.budget = budget
        if whole is not None:
            self.budget = msgspec.structs.replace(budget, tokens=0, thinking=0, cost=0.0)
        self.sharers = 1
        """Lanes that draw on it now."""
        self._whole = whole
        self.prices = Prices()
        self.used = Used()
        self._on_sleep = on_sleep
        self._told: set[Limit] = set()
        self._timeout: asyncio.Timeout | None = None
        self._ended: Share | None = None
        self._paused = 0
        self._tools = 0
        self._at = time.monotonic()
        self._wall = since_boot()

    # -- what is used -------------------------------------------------------------------------

    def begin_step(self) -> None:
        """Count a step. Raises BudgetSpent if anything of the budget is used up."""
        for share in self.shares():
            if share.used >= share.allowed:
                raise spent(share)
        self.used.steps += 1

    def check_reply(self) -> None:
        """Raises BudgetSpent if nothing is left that a reply takes."""
        for share in self.shares():
            if share.limit in ("tokens", "thinking", "cost") and share.used >= share.allowed:
                raise spent(share)

    def add(self, usage: Usage) -> None:
        """Count what a model call took."""
        _add(self.used, usage, self.prices)
        if self._whole is not None:
            self._whole.add(usage)

    def shares(self) -> list[Share]:
        """Of every limit there is."""
        self._advance()
        of_all = self._whole.shares() if self._whole else []
        pairs: list[tuple[Limit, float, float]] = [
            ("steps", self.used.steps, self.budget.steps),
            ("tokens", self.used.tokens, self.budget.tokens),
            ("thinking", self.used.thinking, self.budget.thinking),
            ("seconds", self.used.seconds, self.budget.seconds),
            ("tool_seconds", self.used.tool_seconds, self.budget.tool_seconds),
            ("cost", self.used.cost, self.budget.cost),
        ]
        own = [Share(*pair) for pair in pairs if pair[2]]
        return [*own, *(s for s in of_all if s.limit in ("tokens", "thinking", "cost"))]

    def near(self) -> list[Share]:
        """The limits of which ``NEAR`` is used, each once."""
        found = [s for s in self.shares() if s.part >= NEAR and s.limit not in self._told]
        self._told.update(share.limit for share in found)
        return found

    @property
    def max_tokens(self) -> int | None:
        """The limit of the next reply; None: what the context leaves."""
        return _least(self.budget.step_tokens or None, self._left("tokens"))

    @property
    def thinking_left(self) -> int | None:
        """The limit of the next reply's reasoning; None: none."""
        return _least(self.budget.step_thinking or None, self._left("thinking"))

    def _left(self, limit: Literal["tokens", "thinking"]) -> int | None:
        """What one reply may take of it, at least 1; None: there is no limit."""
        meter = self._whole or self
        allowed: int = getattr(meter.budget, limit)
        left: int = allowed - getattr(meter.used, limit)
        return max(1, left // meter.sharers) if allowed else None

    # -- time ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def clock(self) -> AsyncIterator[None]:
        """Raises BudgetSpent when the block takes longer than the budget's seconds."""
        self._at, self._wall = time.monotonic(), since_boot()
        try:
            async with asyncio.timeout(None) as timeout:
                self._timeout = timeout
                ticker = asyncio.create_task(self._tick(), name="budget")
                try:
                    yield
                finally:
                    ticker.cancel()
        except TimeoutError:
            if self._ended is None:
                raise
            raise spent(self._ended) from None
        finally:
            self._timeout = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The block's time is not counted."""
        self._advance()
        self._paused += 1
        try:
            yield
        finally:
            self._advance()
            self._paused -= 1

    @contextmanager
    def in_tool(self) -> Iterator[None]:
        """The block's time counts as a tool's, too; side by side it counts once."""
        self._advance()
        self._tools += 1
        try:
            yield
        finally:
            self._advance()
            self._tools -= 1

    async def _tick(self) -> None:
        while self._ended is None:
            self._advance()
            times = [s for s in self.shares() if s.limit in ("seconds", "tool_seconds")]
            for share in times:
                if share.used >= share.allowed and self._timeout is not None:
                    self._ended = share
                    self._timeout.reschedule(asyncio.get_running_loop().time())
                    return
            left = min([_TICK, *(s.allowed - s.used for s in times)])
            # What is left may stay as little for long: while a person is asked, nothing is used.
            await asyncio.sleep(max(left, _LEAST_TICK))

    def _advance(self) -> None:
        at, wall = time.monotonic(), since_boot()
        passed = at - self._at
        # On some systems the monotonic clock stands still while the machine sleeps.
        slept = max(passed, wall - self._wall) if self._timeout is not None else 0.0
        self._at, self._wall = at, wall
        if slept > _SLEPT:
            if not self._paused:
                self._on_sleep(slept)
            return
        if not self._paused:
            self.used.seconds += passed
            if self._tools:
                self.used.tool_seconds += passed
