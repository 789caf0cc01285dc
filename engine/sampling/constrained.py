"""A token from one row of logits, of those that a reply's rules allow at its place."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.errors import ResourceError
from engine.grammar.path import Path
from engine.sampling.sampler import Sampled, sample
from engine.types import SamplingParams


def sample_on(path: Path, logits: Tensor, params: SamplingParams, rng: torch.Generator) -> Sampled:
    """logits float32 [V] -> a token that may come next on ``path``, which stays where it is.

    Raises BadLogits, ResourceError ``grammar_too_complex``. A token after which only a forbidden
    call could come is drawn again: that is the same as if it had not been allowed.
    """
    allowed = torch.from_numpy(path.allowed())
    if not allowed.any():
        raise ResourceError("grammar_too_complex", "no token may follow under the reply's grammar")
    left = allowed
    while True:
        sampled = sample(logits, params, rng, left)
        if path.permits(sampled.id):
            return sampled
        left = left.clone()
        left[sampled.id] = False
        if not left.any():
            path.concede()
            left = allowed
