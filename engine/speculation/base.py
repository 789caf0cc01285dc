"""What a drafter is: cheap guesses of a sequence's next tokens.

A step computes the pending token and its drafts together; the engine samples from each row of
logits exactly as it would have without drafts and goes on while the token drawn is the draft
(Leviathan et al. 2023, arXiv:2211.17192, for drafts that are certain of themselves). So drafts
change how fast a reply is written, never what is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from engine.cache.latent_pool import PagedCache


class Drafter(Protocol):
    """Drafts for one sequence. Engine thread only."""

    def draft(
        self,
        tokens: Sequence[int],
        most: int,
        beside: int = 0,
        cache: PagedCache | None = None,
    ) -> list[int]:
        """Up to ``most`` guesses at what follows ``tokens`` (prompt and reply so far); ``[]`` where
        none is worth its cost in a step that computes ``beside`` tokens of other sequences, too.

        ``cache`` holds all of ``tokens`` but the last.

        ``tokens`` grows from call to call and is never rewritten. A call may be repeated before
        anything was observed and gives the same then.
        """

    def observe(self, drafted: int, accepted: int, tokens: int, seconds: float) -> None:
        """Told after every decode step of the sequence, one without drafts (0, 0) included.

        ``tokens``: what the step computed in all, of all sequences, drafts included; ``seconds``:
        how long it took.
        """


NewDrafter = Callable[[], Drafter]
"""Called once for each request that is queued and may be drafted for."""
