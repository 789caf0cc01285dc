"""One token from one row of logits.

Order: temperature, top-k, min-p, top-p; each works on what the one before left. top-p: Holtzman
et al. 2020 (arXiv:1904.09751); min-p: Nguyen et al. 2024 (arXiv:2407.01082).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import SelenographError
from engine.types import SamplingParams

_HEAD = 1024
"""Candidates sorted at first; nearly always they hold the whole nucleus."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A token; log-probabilities (natural, of the model's own distribution) when asked for."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class BadLogits(SelenographError):
    """The model produced numbers from which nothing can be chosen."""

    kind = "model"

    def __init__(self) -> None:
        super().__init__(
            "bad_logits",
            "the model's output is not a number",
            "the weights may be damaged; run `selenograph inspect --deep` on the folder",
        )


def sample(
    logits: Tensor, params: SamplingParams, rng: torch.Generator, allowed: Tensor | None = None
) -> Sampled:
    """logits float32 [V] -> a token, of those ``allowed`` (ids, int64 [n]). Raises BadLogits.

    Depends on nothing but its arguments, so a seeded reply is the same in any batch. Tokens that
    are not allowed have no part in temperature, top-k, min-p and top-p.
    """
    given = logits if allowed is None else logits[allowed]
    values = given.numpy()  # torch would wake its threads for what takes one of them 20 us
    token = int(values.argmax())
    if not math.isfinite(values[token]):
        raise BadLogits()
    if params.temperature > 0:
        token = _draw(given, params, rng)
    if allowed is not None:
        token = int(allowed[token])
    if not params.logprobs:
        return Sampled(token)
    logprobs = logits.log_softmax(-1)
    top = logprobs.topk(min(params.top_logprobs, logprobs.shape[-1]))
    pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return Sampled(token, float(logprobs[token]), tuple(pairs))


def _draw(logits: Tensor, params: SamplingParams, rng: torch.Generator) -> int:
    probs = (logits / max(params.temperature, 1e-5)).softmax(-1)  # [V]
    if not params.top_k and not params.min_p and params.top_p >= 1:
        return int(torch.multinomial(probs, 1, generator=rng))
    count = min(params.top_k or probs.shape[-1], probs.shape[-1])
    head = probs.topk(count if params.top_k else min(count, _HEAD))
    # What top-k and min-p left is the whole for top-p, also where only a part of it is sorted.
    whole = head.values if params.top_k else probs
    total = whole[whole >= params.min_p * head.values[0]].sum()
    if _cut(head.values, total, params) == head.values.shape[-1] < count:
        head = probs.topk(count)
    kept = max(_cut(head.values, total, params), 1)
    place = torch.multinomial(head.values[:kept], 1, generator=rng)
    return int(head.indices[place])


def _cut(values: Tensor, total: Tensor, params: SamplingParams) -> int:
    """How many of the descending `values` stay; `total` is what top-p takes its share of."""
    keep = torch.ones_like(values, dtype=torch.bool)
    if params.min_p > 0:
        keep &= values >= params.min_p * values[0]
    if params.top_p < 1:
        left = values * keep
        before = left.cumsum(-1) - left
        keep &= before < params.top_p * total
    return int(keep.sum())
