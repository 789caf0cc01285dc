"""Drawn tokens against distributions worked out from the definitions.

Draws come from seeded generators, so a test's outcome is the same on every run. A level of 1e-4
means: a correct sampler with another seed would fail one such test in ten thousand; the last
chi-square test shows that the check sees a temperature that is off by a tenth.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.sampling.sampler import BadLogits, sample
from engine.types import SamplingParams

LEVEL = 1e-4
DRAWS = 4000


def exact(logits: Tensor, params: SamplingParams) -> list[float]:
    """The distribution after temperature, top-k, min-p and top-p, in float64, by definition."""
    rows = [x / params.temperature for x in logits.double().tolist()]
    peak = max(rows)
    weights = [math.exp(x - peak) for x in rows]
    order = sorted(range(len(rows)), key=lambda i: -weights[i])
    if params.top_k:
        order = order[: params.top_k]
    order = [i for i in order if weights[i] >= params.min_p * weights[order[0]]]
    if params.top_p < 1:
        left, before, kept = math.fsum(weights[i] for i in order), 0.0, []
        for i in order:
            if before >= params.top_p * left:
                break
            kept.append(i)
            before += weights[i]
        order = kept
    whole = math.fsum(weights[i] for i in order)
    probs = [0.0] * len(rows)
    for i in order:
        probs[i] = weights[i] / whole
    return probs


def p_value(counts: list[int], probs: list[float]) -> float:
    """Pearson's chi-square; categories with fewer than five expected draws are put together."""
    total = sum(counts)
    big = [(c, p * total) for c, p in zip(counts, probs, strict=True) if p * total >= 5]
    rest = (total - sum(c for c, _ in big), total - sum(e for _, e in big))
    cells = [*big, rest] if rest[1] >= 5 else big
    if len(cells) == 1:
        return 1.0  # one token has all the weight; that no other came is asserted elsewhere
    statistic = sum((c - e) ** 2 / e for c, e in cells)
    half = torch.tensor([len(cells) - 1, statistic], dtype=torch.float64) / 2
    return float(torch.special.gammaincc(half[0], half[1]))


def draw(logits: Tensor, params: SamplingParams, draws: int = DRAWS, seed: int = 7) -> list[int]:
    """How often each token was drawn."""
    rng = torch.Generator().manual_seed(seed)
    counts = [0] * logits.shape[-1]
    for _ in range(draws):
        counts[sample(logits, params, rng).id] += 1
    return counts


def spread(size: int, sigma: float = 1.5, seed: int = 3) -> Tensor:
    """Normal logits [V]."""
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * sigma


def named(params: SamplingParams) -> str:
    """A test's name: what differs from the defaults."""
    changed = {k: v for k, v in asdict(params).items() if v != getattr(SamplingParams(), k)}
    return " ".join(f"{name}={value}" for name, value in changed.items()) or "plain"


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(),
        SamplingParams(temperature=0.6),
        SamplingParams(temperature=2.5),
        SamplingParams(top_k=1),
        SamplingParams(top_k=5),
        SamplingParams(top_k=1000),
        SamplingParams(top_p=0.8),
        SamplingParams(top_p=0.05),
        SamplingParams(min_p=0.1),
        SamplingParams(min_p=1.0),
        SamplingParams(temperature=0.7, top_k=9, min_p=0.03, top_p=0.9),
        SamplingParams(temperature=1.8, min_p=0.2, top_p=0.5),
        SamplingParams(temperature=1.8, top_k=4, top_p=0.5),
    ],
    ids=named,
)
def test_draws_follow_the_exact_distribution(params: SamplingParams) -> None:
    logits = spread(16)
    probs = exact(logits, params)
    counts = draw(logits, params)
    assert all(p > 0 for c, p in zip(counts, probs, strict=True) if c), "a token that was cut"
    assert p_value(counts, probs) > LEVEL


WIDE = -torch.arange(4096, dtype=torch.float32) / 4096
"""More candidates than are sorted at first, nearly even, in descending order."""


def _binned(values: list[int] | list[float]) -> list[float]:
    return [sum(values[at : at + 256]) for at in range(0, len(values), 256)]


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(top_p=0.9),
        SamplingParams(top_p=0.2),
        SamplingParams(top_k=2000),
        SamplingParams(min_p=0.5),
        SamplingParams(min_p=0.5, top_k=500),
        SamplingParams(min_p=0.1, top_p=0.5),
        SamplingParams(top_k=2000, top_p=0.5),
    ],
    ids=named,
)
def test_a_nucleus_of_thousands_is_whole(params: SamplingParams) -> None:
    probs = _binned(exact(WIDE, params))
    counts = [int(c) for c in _binned(draw(WIDE, params))]
    assert p_value(counts, probs) > LEVEL


def test_the_check_sees_a_temperature_that_is_a_tenth_off() -> None:
    logits = spread(16)
    counts = draw(logits, SamplingParams(temperature=1.1))
    assert p_value(counts, exact(logits, SamplingParams())) < LEVEL


def test_a_seed_decides_every_token() -> None:
    logits, params = spread(64), SamplingParams(temperature=1.3, top_p=0.95)

    def run(seed: int) -> list[int]:
        rng = torch.Generator().manual_seed(seed)
        return [sample(logits, params, rng).id for _ in range(50)]

    assert run(11) == run(11)
    assert len({tuple(run(seed)) for seed in range(5)}) == 5


@given(
    st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=40),
    st.integers(0, 5),
    st.floats(0, 1),
    st.floats(0.01, 1),
)
@settings(max_examples=60, deadline=None)
def test_greedy_takes_the_best_whatever_else_is_set(
    values: list[float], top_k: int, min_p: float, top_p: float
) -> None:
    logits = torch.tensor(values)
    params = SamplingParams(temperature=0, top_k=top_k, min_p=min_p, top_p=top_p)
    rng = torch.Generator().manual_seed(0)
    state = rng.get_state()
    assert values[sample(logits, params, rng).id] == max(values)
    assert torch.equal(rng.get_state(), state), "greedy draws nothing"


@given(
    st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40),
    st.floats(0.05, 5),
    st.integers(0, 12),
    st.floats(0, 1),
    st.floats(0.01, 1),
    st.integers(0, 2**32),
)
@settings(max_examples=150, deadline=None)
def test_every_draw_lies_in_what_is_left(
    values: list[float], temperature: float, top_k: int, min_p: float, top_p: float, seed: int
) -> None:
    logits = torch.tensor(values)
    params = SamplingParams(temperature=temperature, top_k=top_k, min_p=min_p, top_p=top_p)
    token = sample(logits, params, torch.Generator().manual_seed(seed)).id
    # Values instead of indices: of equal logits any may stay. A hair wider, for float32.
    wider = replace(params, top_p=min(top_p + 1e-5, 1.0), min_p=max(min_p - 1e-5, 0.0))
    left = min(v for v, p in zip(values, exact(logits, wider), strict=True) if p > 0)
    assert values[token] >= left - 1e-4


@given(
    st.lists(st.floats(-40, 40, width=32), min_size=1, max_size=30),
    st.integers(0, 20),
    st.sampled_from([0.0, 0.7, 1.0]),
)
@settings(max_examples=60, deadline=None)
def test_logprobs_are_the_model_s_own(values: list[float], top: int, temperature: float) -> None:
    logits = torch.tensor(values)
    params = SamplingParams(temperature=temperature, top_k=3, logprobs=True, top_logprobs=top)
    result = sample(logits, params, torch.Generator().manual_seed(1))
    whole = math.log(math.fsum(math.exp(v - max(values)) for v in values)) + max(values)
    assert result.logprob == pytest.approx(values[result.id] - whole, abs=1e-4)
    assert len(result.top) == min(top, len(values))
    assert len({i for i, _ in result.top}) == len(result.top)
    shown = [p for _, p in result.top]
    best = sorted(values, reverse=True)[: len(shown)]
    assert shown == pytest.approx([v - whole for v in best], abs=1e-4)
    assert [values[i] for i, _ in result.top] == pytest.approx(best, abs=1e-4)


def test_no_logprobs_unless_asked() -> None:
    result = sample(spread(8), SamplingParams(), torch.Generator().manual_seed(0))
    assert (result.logprob, result.top) == (None, ())


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(
    "values",
    [[1.0, math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]],
    ids=["nan", "inf", "nothing"],
)
def test_damaged_logits_are_a_typed_error(values: list[float], temperature: float) -> None:
    with pytest.raises(BadLogits) as caught:
        sample(torch.tensor(values), SamplingParams(temperature=temperature), torch.Generator())
    assert caught.value.code == "bad_logits"
    assert caught.value.hint


def test_tokens_ruled_out_by_minus_infinity_never_come() -> None:
    logits = torch.tensor([0.0, -math.inf, 1.0, -math.inf])
    counts = draw(logits, SamplingParams(temperature=3.0), draws=500)
    assert counts[1] == counts[3] == 0
    assert counts[0] and counts[2]
