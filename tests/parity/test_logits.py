"""The whole network against transformers in float32.

Tolerance 2e-4 on logits whose spread is about one: the two differ only in the order of float32
sums, which over three layers of a few hundred terms stays below 1e-5; a wrong formula is off by
more than 1e-2 on these weights (the tests assert their spread).
"""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.model.deepseek import Batch
from engine.model.loader import load_model

from .conftest import Pair

TOLERANCE = 2e-4


def _prompt(pair: Pair, length: int, seed: int = 1) -> list[int]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, pair.ours.config.vocab_size, (length,), generator=rng).tolist()


def _greedy(pair: Pair, prompt: list[int], count: int) -> list[int]:
    cache, tokens = pair.ours.new_cache(), list(prompt)
    fresh = prompt
    for _ in range(count):
        fresh = [int(pair.ours.forward(Batch([(cache, fresh)]))[0].argmax())]
        tokens += fresh
    return tokens


def test_logits_agree(pair: Pair) -> None:
    ids = _prompt(pair, 96)
    theirs = pair.oracle(ids)
    assert theirs.std() > 0.5, "degenerate logits would make this test blind"
    assert theirs.std(0).mean() > 0.3, "logits must depend on the position"
    ours = pair.ours.forward(Batch([(pair.ours.new_cache(), ids)]), all_logits=True)
    assert (ours - theirs).abs().max() <= TOLERANCE


def test_greedy_tokens_agree(pair: Pair) -> None:
    prompt = _prompt(pair, 24, seed=5)
    ours = _greedy(pair, prompt, 64)
    # The oracle sees the whole sequence at once: each of its choices must be ours.
    theirs = pair.oracle(ours[:-1]).argmax(-1)[len(prompt) - 1 :].tolist()
    assert ours[len(prompt) :] == theirs
    assert len(set(ours[len(prompt) :])) > 8, "a loop of few tokens would prove little"


def test_absorbed_equals_expanded(pair: Pair) -> None:
    ids = _prompt(pair, 40)
    runs = [
        pair.ours.forward(Batch([(pair.ours.new_cache(), ids)]), all_logits=True, form=form)
        for form in ("expanded", "absorbed")
    ]
    assert (runs[0] - runs[1]).abs().max() <= TOLERANCE


@given(cuts=st.lists(st.integers(1, 39), max_size=6, unique=True))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_chunked_prefill_equals_one_shot(pair: Pair, cuts: list[int]) -> None:
    ids = _prompt(pair, 40)
    whole = pair.ours.forward(Batch([(pair.ours.new_cache(), ids)]))
    cache, edges = pair.ours.new_cache(), [0, *sorted(cuts), 40]
    for a, b in itertools.pairwise(edges):
        last = pair.ours.forward(Batch([(cache, ids[a:b])]))
    assert (whole - last).abs().max() <= TOLERANCE


def test_cached_prefix_equals_cold(pair: Pair) -> None:
    ids = _prompt(pair, 48)
    cold = pair.ours.forward(Batch([(pair.ours.new_cache(), ids)]))
    first = pair.ours.new_cache()
    pair.ours.forward(Batch([(first, [*ids[:30], *_prompt(pair, 9, seed=8)])]))
    first.truncate(30)
    logits = pair.ours.forward(Batch([(first, ids[30:])]))
    assert (cold - logits).abs().max() <= TOLERANCE


def test_batch_equals_single(pair: Pair) -> None:
    model = pair.ours
    prompts = [_prompt(pair, n, seed=n) for n in (5, 17, 33)]
    single = [model.forward(Batch([(model.new_cache(), p)]))[0] for p in prompts]
    caches = [model.new_cache() for _ in prompts]
    together = model.forward(Batch(list(zip(caches, prompts, strict=True))))
    assert (torch.stack(single) - together).abs().max() <= TOLERANCE
    steps = [[int(row.argmax())] for row in together]
    alone = []
    for cache, step in zip(caches, steps, strict=True):
        alone.append(model.forward(Batch([(cache, step)]))[0])
        cache.truncate(cache.length - 1)
    joined = model.forward(Batch(list(zip(caches, steps, strict=True))))
    assert (torch.stack(alone) - joined).abs().max() <= TOLERANCE


def test_native_experts_give_the_oracle_s_logits(pair: Pair) -> None:
    native = load_model(pair.folder, torch.float32, "native", threads=2)
    try:
        ids = _prompt(pair, 64)
        ours = native.forward(Batch([(native.new_cache(), ids)]), all_logits=True)
        assert (ours - pair.oracle(ids)).abs().max() <= TOLERANCE
    finally:
        native.close()


def test_bfloat16_stays_close(pair: Pair) -> None:
    """bf16 keeps 8 bits: about 0.4 % a rounding, a few tens of roundings deep, random in sign."""
    ids = _prompt(pair, 64)
    model = load_model(pair.folder, torch.bfloat16, "reference")
    ours = model.forward(Batch([(model.new_cache(), ids)]), all_logits=True)
    theirs = pair.oracle(ids)
    error = (ours - theirs).pow(2).mean().sqrt() / theirs.std()
    assert error < 0.1
    # Near-ties in routing can flip an expert for a token, so agreement is asked of most.
    assert (ours.argmax(-1) == theirs.argmax(-1)).float().mean() > 0.8


@pytest.mark.parametrize("position", [0, 1, 4095, 100_000, 262_143])
def test_rotary_angles_agree_far_out(pair: Pair, position: int) -> None:
    rotary = pair.theirs.model.rotary_emb
    with torch.inference_mode():
        cos, sin = rotary(torch.zeros(1, 1, 1), torch.tensor([[position]]))
    half = cos.shape[-1] // 2
    ours = pair.ours._rotary.at(torch.tensor([position]))
    # Frequencies of equal bits; otherwise float32 angles of 2.6e5 rad would differ by 0.01.
    torch.testing.assert_close(ours[0], cos[0, :, :half], atol=1e-6, rtol=0)
    torch.testing.assert_close(ours[1], sin[0, :, :half], atol=1e-6, rtol=0)
