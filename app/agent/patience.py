"""How long to wait before a model is asked again, and how often; how long for a lost endpoint."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.agent.budget import since_boot
from app.errors import BackendError, ResourceError, SelenographError

_TICK = 1.0
_SLEPT = 10.0
"""Seconds late after which the machine must have stood still."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. The wait doubles from ``first`` up to ``most``, each time with half of it by chance,
    so that many clients do not come back at once.
    """

    attempts: int = 6
    first: float = 1.0
    most: float = 60.0
    longest: float = 300.0
    """What an endpoint may ask for; if it asks for more, the run fails and says so."""

    first_look: float = 5.0
    """Until a lost endpoint is looked for again; doubles up to ``most``."""
    away: float = 86_400.0
    """How long it is waited for, sleep of the machine not counted."""
    returns: int = 5
    """How often in one step: what brings its server down each time would else do so for ever."""

    def helps(self, error: SelenographError) -> bool:
        """Whether asking again can."""
        patient = error.retryable and isinstance(error, BackendError | ResourceError)
        return patient and (error.retry_after or 0.0) <= self.longest

    def look(self, looks: int) -> float:
        """Until the next look for a lost endpoint, after ``looks`` in vain."""
        return min(self.most, self.first_look * 2.0 ** min(looks, 30))

    def wait(
        self, attempt: int, error: SelenographError, chance: Callable[[], float] = random.random
    ) -> float | None:
        """After the ``attempt``-th (from 1) failed; None: there is no further one."""
        asked = error.retry_after or 0.0
        if not self.helps(error) or attempt >= self.attempts:
            return None
        usual = min(self.most, self.first * 2.0 ** (attempt - 1))
        return max(asked, usual / 2) + chance() * usual / 2


async def rest(seconds: float) -> bool:
    """Sleep; whether the machine did meanwhile, which ends it as soon as that is over."""
    until, awake = since_boot() + seconds, time.monotonic() + seconds
    # Either clock may stand still or be set, so whichever is done first ends it.
    while (left := min(until - since_boot(), awake - time.monotonic())) > 0:
        await asyncio.sleep(min(left, _TICK))
    return left < -_SLEPT
