"""A request on its way through the engine."""

from __future__ import annotations

import time

import torch

from engine.cache.latent_pool import PagedCache
from engine.speculation.base import Drafter
from engine.types import Request


class Sequence:
    """Tokens and cache of one request. Engine thread only, but for ``aborted``.

    Invariant: 0 <= cached <= computed <= len(tokens) <= limit, where ``computed`` is what the
    latent cache holds.
    """

    def __init__(
        self,
        request: Request,
        cache: PagedCache,
        cached: int,
        limit: int,
        drafter: Drafter | None = None,
    ) -> None:
        self.request = request
        self.tokens = list(request.prompt.token_ids)
        self.prompt_tokens = len(self.tokens)
        self.cache = cache
        self.cached = cached
        self.limit = limit
        self.drafter = drafter
        self.accepted = self.rejected = 0
        """Drafts so far."""
        self.aborted = False
        """Set by any thread; read before and during each step."""
        seed = request.sampling.seed
        self.rng = torch.Generator()
        self.rng.manual_seed(seed & (2**63 - 1)) if seed is not None else self.rng.seed()
        self.scheduled = time.monotonic()
        self.first_token = 0.0
        self.check()

    @property
    def computed(self) -> int:
        """Tokens whose latents are in the cache."""
        return self.cache.length

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

    def settle(self, drafted: int, written: int) -> None:
        """After a step that ended in ``written`` sampled tokens: forget the drafts that differ."""
        accepted = max(written - 1, 0)
        self.accepted += accepted
        self.rejected += drafted - accepted
        self.cache.truncate(self.computed - drafted + accepted)
        self.check()

    def check(self) -> None:
        """Assert the invariant."""
        assert 0 <= self.cached <= self.computed <= len(self.tokens) <= self.limit
