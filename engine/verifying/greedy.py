"""A short greedy reply with the exact kernels, and the same tokens with the fast ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.experts.base import ExpertBackend, ExpertWeights, Ticket
from engine.model.deepseek import Batch, Model
from engine.model.loader import load_model
from engine.text.tokenizer import Tokenizer
from engine.verifying.kernels import Make
from engine.verifying.report import Check

LIMIT = 0.2
"""Median over the tokens of (difference of logits) / (their spread). Small errors grow through the
layers and now and then move a token to another expert; kernels that are wrong give about 1.4."""
_PROMPT = "The capital of France is Paris. The sea is deep, and two and two make"
_TOKENS = 24


class _Either:
    """Two backends on the same weights; one of them computes."""

    def __init__(self, backends: dict[str, ExpertBackend]) -> None:
        self.backends = backends
        self.now = next(iter(backends.values()))

    @property
    def name(self) -> str:
        return self.now.name

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        for backend in self.backends.values():
            backend.add_layer(layer, experts)

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        return self.now.submit(layer, x, ids, weights)

    def wait(self, ticket: Ticket) -> Tensor:
        return self.now.wait(ticket)

    def abort(self) -> None:
        for backend in self.backends.values():
            backend.abort()

    def close(self) -> None:
        for backend in self.backends.values():
            backend.close()


@dataclass(frozen=True, slots=True)
class _Reply:
    tokens: list[int]
    logits: Tensor
    """[tokens, V]"""


def check_greedy(
    folder: Path, isa: str, make: Make, until: float, tell: Callable[[str], None]
) -> Check:
    """Loads the model once. At least one token is compared, more while time lasts."""
    either = _Either({"exact": make(isa, "exact"), "fast": make(isa, "fast")})
    tell("loading the model")
    model = load_model(folder, experts=either)
    try:
        prompt = Tokenizer.from_folder(folder).encode(_PROMPT)
        half = (time.monotonic() + until) / 2
        exact = _reply(model, prompt, None, half, tell)
        either.now = either.backends["fast"]
        fast = _reply(model, prompt, exact.tokens, float("inf"), tell)
    finally:
        model.close()
    return _compare(exact, fast)


def _reply(
    model: Model,
    prompt: list[int],
    forced: list[int] | None,
    until: float,
    tell: Callable[[str], None],
) -> _Reply:
    """Greedy tokens, or the logits along `forced` ones."""
    cache = model.new_cache(len(prompt) + _TOKENS)
    rows: list[Tensor] = []
    tokens: list[int] = []
    new = prompt
    limit = _TOKENS if forced is None else len(forced)
    while len(rows) < limit and (not rows or time.monotonic() < until):
        tell(f"greedy, {'exact' if forced is None else 'fast'}: token {len(rows) + 1} of {limit}")
        row = model.forward(Batch([(cache, new)]))[0]  # [V]
        token = int(row.argmax()) if forced is None else forced[len(rows)]
        rows.append(row)
        tokens.append(token)
        new = [token]
    return _Reply(tokens, torch.stack(rows))


def _compare(exact: _Reply, fast: _Reply) -> Check:
    count = len(fast.tokens)
    right = exact.logits[:count].double()
    spread = right.std(-1).clamp_min(1e-300)  # [tokens]
    errors = (fast.logits.double() - right).pow(2).mean(-1).sqrt() / spread
    error = float(errors.median().nan_to_num(torch.inf, torch.inf, torch.inf))
    differs = (fast.logits.argmax(-1) != torch.tensor(exact.tokens[:count])).nonzero()
    if len(differs):
        at = int(differs[0])
        top = right[at].topk(2).values
        where = (
            f"token {at + 1}, the first to differ (the two best lay {top[0] - top[1]:.2g} apart)"
        )
    else:
        where = ""
    return Check(
        name="greedy fast/exact",
        passed=error <= LIMIT,
        worst=error,
        limit=LIMIT,
        where=where,
        covered=f"{count} tokens",
    )
