"""A request on its way through the engine."""

from __future__ import annotations

import time

import torch

from engine.cache.latent_pool import PagedCache
from engine.protocol import Priority
from engine.speculation.base import Drafter
from engine.types import Request

RANKS: dict[Priority, int] = {"interactive": 0, "background": 1}


class Sequence:
    """Tokens of one request and, while it runs, its pages. Engine thread only, but for ``aborted``.

    Invariant: 0 <= cached <= computed <= len(tokens) <= limit, where ``computed`` is what the
    pages hold. One that waits holds none: its tokens, random numbers and reply live on.
    """

    def __init__(self, request: Request, limit: int, drafter: Drafter | None = None) -> None:
        self.request = request
        self.tokens = list(request.prompt.token_ids)
        self.prompt_tokens = len(self.tokens)
        self.limit = limit
        self.cached = 0
        """Prompt tokens that others had computed."""
        self.drafter = drafter
        self.accepted = self.rejected = 0
        """Drafts so far."""
        self.aborted = False
        """Set by any thread; read before and during each step."""
        self.rank = RANKS[request.priority]
        self.number = 0
        """Of its arrival."""
        self.turns = 0
        """Prompt tokens it was given so far, beginning with those of its equals on admission."""
        self.kin: dict[Sequence, int] = {}
        """Running ones with the same beginning, and how many tokens that has."""
        seed = request.sampling.seed
        self.rng = torch.Generator()
        self.rng.manual_seed(seed & (2**63 - 1)) if seed is not None else self.rng.seed()
        self.scheduled = 0.0
        """When it was first admitted and its pages were back from the archive; 0: not yet."""
        self.sought = False
        """Whether the archive was asked for what its pages do not have."""
        self.told = 0.0
        """When its client last heard how far its prompt is."""
        self._reached = 0
        """The most tokens that it had computed when it was preempted."""
        self._fresh = True
        """Whether it has computed nothing yet."""
        self.first_token = 0.0
        self._cache: PagedCache | None = None

    @property
    def cache(self) -> PagedCache:
        """Its pages, while it runs."""
        assert self._cache is not None, "who waits has no pages"
        return self._cache

    @property
    def seniority(self) -> tuple[int, int]:
        """Who has the smaller one goes first, and is preempted last."""
        return self.rank, self.number

    @property
    def computed(self) -> int:
        """Tokens whose latents are in its pages."""
        return self._cache.length if self._cache is not None else 0

    @property
    def pending(self) -> int:
        """Tokens that have to be computed before the next can be sampled."""
        return len(self.tokens) - self.computed

    @property
    def completion_tokens(self) -> int:
        """Tokens sampled so far."""
        return len(self.tokens) - self.prompt_tokens

    @property
    def room(self) -> int:
        """Tokens that may still be sampled."""
        asked = self.request.sampling.max_tokens - self.completion_tokens
        return min(self.limit - len(self.tokens), asked)

    @property
    def stopped(self) -> bool:
        """Whether it was aborted or its deadline has passed."""
        return self.aborted or self.late

    @property
    def late(self) -> bool:
        """Whether its deadline has passed."""
        deadline = self.request.deadline
        return deadline is not None and time.monotonic() >= deadline

    def open(self, cache: PagedCache) -> None:
        """Begin to run, or run again, on pages with what is known of its tokens."""
        self._cache = cache
        self.sought = False
        if not self.scheduled:
            self.scheduled = time.monotonic()
            self.cached = cache.length
        self.cached = min(self.cached, cache.length)
        self.check()

    def adopted(self, before: int) -> None:
        """Others have computed what it has beyond ``before`` tokens; it may have done so itself,
        before it was preempted."""
        gained = max(self.computed - max(before, self._reached), 0)
        self.cached = min(self.cached + gained, self.prompt_tokens)
        self.check()

    def restored(self, before: int, *, all_of_it: bool) -> None:
        """What it has beyond ``before`` tokens came from the archive; it may be its own from before
        it was preempted."""
        if self._fresh:
            self.adopted(before)
        if self._fresh and all_of_it:
            self._fresh = False
            self.scheduled = time.monotonic()
        self.check()

    def close(self) -> PagedCache:
        """Give up its pages."""
        self._reached = max(self._reached, self.computed)
        cache, self._cache = self.cache, None
        for other in self.kin:
            other.kin.pop(self, None)
        self.kin = {}
        return cache

    def settle(self, drafted: int, written: int) -> None:
        """After a step that ended in ``written`` sampled tokens: forget the drafts that differ."""
        accepted = max(written - 1, 0)
        self.accepted += accepted
        self.rejected += drafted - accepted
        if accepted < drafted:
            self.cache.truncate(self.computed - drafted + accepted)
        self.check()

    def check(self) -> None:
        """Assert the invariant."""
        assert 0 <= self.computed <= len(self.tokens) <= self.limit
        assert 0 <= self.cached <= (self.computed if self._cache is not None else self.limit)
