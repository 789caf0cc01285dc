"""A request on its way through the engine."""

from __future__ import annotations

import time

import torch

from engine.cache.latent import LatentCache
from engine.types import Request


class Sequence:
    """Tokens and cache of one request. Engine thread only, but for ``aborted``.

    Invariant: 0 <= cached <= computed <= len(tokens) <= limit, where ``computed`` is what the
    latent cache holds.
    """

    def __init__(self, request: Request, cache: LatentCache, cached: int, limit: int) -> None:
        self.request = request
        self.tokens = list(request.prompt.token_ids)
        self.prompt_tokens = len(self.tokens)
        self.cache = cache
        self.cached = cached
        self.limit = limit
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

    def check(self) -> None:
        """Assert the invariant."""
        assert 0 <= self.cached <= self.computed <= len(self.tokens) <= self.limit
