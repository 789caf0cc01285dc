"""How long to wait before a model is asked again, and how often."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from app.errors import BackendError, ResourceError, SelenographError


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

    def wait(
        self, attempt: int, error: SelenographError, chance: Callable[[], float] = random.random
    ) -> float | None:
        """After the ``attempt``-th (from 1) failed; None: there is no further one."""
        retryable = error.retryable and isinstance(error, BackendError | ResourceError)
        asked = error.retry_after or 0.0
        if not retryable or attempt >= self.attempts or asked > self.longest:
            return None
        usual = min(self.most, self.first * 2.0 ** (attempt - 1))
        return max(asked, usual / 2) + chance() * usual / 2
