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
_PROMPT = "The sea is deep, and two and two make"
_PROMPT_TOKENS, _TOKENS = 12, 32


@dataclass(frozen=True, slots=True)
class _Steps:
    """Tokens fed one by one, and the logits [tokens, V] after each."""

    tokens: list[int]
    logits: Tensor


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
    prompt = Tokenizer.from_folder(folder).encode(_PROMPT)[:_PROMPT_TOKENS]
    model = load(folder, isa, "exact")
    try:
        third = time.monotonic() + (until - time.monotonic()) / 3
        exact = _steps(model, prompt, _TOKENS, third, tell)
        tell("exact, all tokens in one pass")
        cache = model.new_cache(len(exact.tokens))
        passed = model.forward(Batch([(cache, exact.tokens)]), all_logits=True)  # [tokens, V]
    finally:
        model.close()
    yield _compare("reply steps/one pass", exact, passed)
    tell("loading the model, fast")
    model = load(folder, isa, "fast")
    try:
        fast = _steps(model, exact.tokens, len(exact.tokens), float("inf"), tell)
    finally:
        model.close()
    yield _compare("reply fast/exact", exact, fast.logits)


def _steps(
    model: Model, begin: list[int], count: int, until: float, tell: Callable[[str], None]
) -> _Steps:
    """Feed `begin`, then what is most likely, until there are `count` tokens or time is over."""
    cache = model.new_cache(count)
    tokens = list(begin[:count])
    rows: list[Tensor] = []
    while len(rows) < count and (not rows or time.monotonic() < until):
        tell(f"{model.experts.name}: token {len(rows) + 1} of {count}")
        rows.append(model.forward(Batch([(cache, [tokens[len(rows)]])]))[0])  # [V]
        if len(rows) == len(tokens) < count:
            tokens.append(int(rows[-1].argmax()))
    return _Steps(tokens[: len(rows)], torch.stack(rows))


def _compare(name: str, exact: _Steps, found: Tensor) -> Check:
    """Logits [tokens, V] against the exact ones."""
    right = exact.logits.double()
    spread = right.std(-1).clamp_min(1e-300)  # [tokens]
    errors = (found.double() - right).pow(2).mean(-1).sqrt() / spread
    error = float(errors.median().nan_to_num(torch.inf, torch.inf, torch.inf))
    differs = (found.argmax(-1) != right.argmax(-1)).nonzero()
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
