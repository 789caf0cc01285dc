"""A token from one row of logits, of those that a reply's rules allow at its place."""

from __future__ import annotations

import numpy as np
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
    ids = np.flatnonzero(path.allowed()[: len(logits)])
    if not len(ids):
        raise ResourceError("grammar_too_complex", "no token may follow under the reply's grammar")
    allowed = left = torch.from_numpy(ids)
    while True:
        sampled = sample(logits, params, rng, left)
        if path.permits(sampled.id):
            return sampled
        left = left[left != sampled.id]
        if not len(left):
            path.concede()
            left = allowed
