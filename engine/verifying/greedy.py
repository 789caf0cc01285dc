"""A short greedy reply by the exact kernels; the same tokens in one pass, and by the fast ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.experts.native import Mode
from engine.model.deepseek import Batch, Model
from engine.model.loader import KernelOptions, load_model
from engine.text.tokenizer import Tokenizer
from engine.verifying.report import Check

LIMIT = 0.2
"""Median over the tokens of (difference of logits) / (their spread). Small errors grow through the
layers and now and then move a token to another expert; kernels that are wrong give about 1.4."""
Load = Callable[[Path, str, Mode], Model]
"""A model by folder, instruction set and mode."""
_PROMPT = "The capital of France is Paris. The sea is deep, and two and two make"
_TOKENS = 24


@dataclass(frozen=True, slots=True)
class _Reply:
    tokens: list[int]
    logits: Tensor
    """[tokens, V]"""


def load(folder: Path, isa: str, mode: Mode) -> Model:
    """The model as the engine would have it, on our kernels."""
    return load_model(folder, experts="native", kernels=KernelOptions(isa, mode))


def check_greedy(
    folder: Path, isa: str, until: float, tell: Callable[[str], None], load: Load = load
) -> Iterator[Check]:
    """Fast against exact, and exact token by token against exact in one pass.

    Loads the model twice. At least one token is compared, more while time lasts.
    """
    tell("loading the model, exact")
    model = load(folder, isa, "exact")
    try:
        prompt = Tokenizer.from_folder(folder).encode(_PROMPT)
        half = (time.monotonic() + until) / 2
        exact = _reply(model, prompt, None, half, tell)
        tell("greedy, exact: all tokens in one pass")
        whole = [*prompt, *exact.tokens[:-1]]
        cache = model.new_cache(len(whole))
        passed = model.forward(Batch([(cache, whole)]), all_logits=True)[len(prompt) - 1 :]
    finally:
        model.close()
    yield _compare("reply steps/one pass", exact, passed)
    tell("loading the model, fast")
    model = load(folder, isa, "fast")
    try:
        fast = _reply(model, prompt, exact.tokens, float("inf"), tell)
    finally:
        model.close()
    yield _compare("reply fast/exact", exact, fast.logits)


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


def _compare(name: str, exact: _Reply, found: Tensor) -> Check:
    """Logits [tokens, V] against those of the exact reply."""
    right = exact.logits.double()
    spread = right.std(-1).clamp_min(1e-300)  # [tokens]
    errors = (found.double() - right).pow(2).mean(-1).sqrt() / spread
    error = float(errors.median().nan_to_num(torch.inf, torch.inf, torch.inf))
    differs = (found.argmax(-1) != torch.tensor(exact.tokens)).nonzero()
    if len(differs):
        at = int(differs[0])
        top = right[at].topk(2).values
        where = f"token {at + 1}, the first to differ (the two best {top[0] - top[1]:.2g} apart)"
    else:
        where = ""
    return Check(
        name=name,
        passed=error <= LIMIT,
        worst=error,
        limit=LIMIT,
        where=where,
        covered=f"{len(exact.tokens)} tokens",
    )
