"""Drafts change how many rows a step has, never what is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from engine.sampling.sampler import Sampled, sample
from engine.speculation.verify import verify
from engine.types import SamplingParams

V = 6
Draft = Callable[[Sequence[int]], Sequence[int]]


class Chain:
    """A model: logits [V] from the last two tokens."""

    def __init__(self, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self._table = torch.randn(V, V, V, generator=draw) * 1.5  # [V, V, V]

    def rows(self, tokens: Sequence[int], drafts: Sequence[int]) -> Tensor:
        """[len(drafts) + 1, V]"""
        seen = [*tokens, *drafts]
        last = range(len(tokens) - 1, len(seen))
        return torch.stack([self._table[seen[i - 1], seen[i]] for i in last])


def write(model: Chain, params: SamplingParams, count: int, draft: Draft) -> tuple[list[int], int]:
    """A reply of `count` tokens, and the steps that it took."""
    rng = torch.Generator().manual_seed(params.seed or 0)
    tokens, steps = [0, 1], 0
    while len(tokens) < count + 2:
        drafts = draft(tokens)
        rows = model.rows(tokens, drafts)
        steps += 1
        for sampled in verify(rows, drafts, lambda row: sample(row, params, rng)):
            tokens.append(sampled.id)
            if len(tokens) == count + 2:
                break
    return tokens[2:], steps


PARAMS = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.7, 1.0, 1.6]),
    top_p=st.sampled_from([1.0, 0.8]),
    top_k=st.sampled_from([0, 3]),
    min_p=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 1 << 20),
)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 50),
    PARAMS,
    st.lists(st.lists(st.integers(0, V - 1), max_size=5), min_size=1, max_size=6),
)
def test_any_drafts_leave_the_reply_as_it_is(
    seed: int, params: SamplingParams, proposals: list[list[int]]
) -> None:
    model = Chain(seed)
    plain, steps = write(model, params, 24, lambda tokens: ())
    assert steps == 24
    drafted, fewer = write(model, params, 24, lambda t: proposals[len(t) % len(proposals)])
    assert drafted == plain
    assert fewer <= steps


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 50), PARAMS)
def test_right_drafts_save_steps(seed: int, params: SamplingParams) -> None:
    model = Chain(seed)
    plain, _ = write(model, params, 24, lambda tokens: ())
    known = [0, 1, *plain]
    drafted, steps = write(model, params, 24, lambda t: known[len(t) : len(t) + 3])
    assert drafted == plain
    assert steps == 6  # three drafts and the token after them


def test_what_is_sampled_with_drafts_has_the_models_distribution() -> None:
    model, count = Chain(3), 3000
    params = SamplingParams(temperature=2.5)
    expected = torch.zeros(V, V)
    rows = model.rows([0, 1], ()) / params.temperature
    for first in range(V):
        second = model.rows([1, first], ()) / params.temperature
        expected[first] = rows.softmax(-1)[0, first] * second.softmax(-1)[0]
    rng = torch.Generator().manual_seed(11)
    drafts = [int(rows[0].argmax()), 2]
    seen = torch.zeros(V, V)
    for _ in range(count):
        tokens = [0, 1]
        for proposal in (drafts, []):
            logits = model.rows(tokens, proposal)
            tokens += [s.id for s in verify(logits, proposal, lambda r: sample(r, params, rng))]
        seen[tokens[2], tokens[3]] += 1
    chi = float(((seen - count * expected) ** 2 / (count * expected)).sum())
    assert float(count * expected.min()) > 5, "too rare for the approximation"
    # 35 degrees of freedom; 66.6 is exceeded by chance once in a thousand seeds.
    assert chi < 66.6


def test_no_row_is_sampled_after_the_one_that_ends_a_reply() -> None:
    asked: list[int] = []

    def one(row: Tensor) -> Sampled:
        asked.append(int(row[0]))
        return Sampled(7)

    for _ in verify(torch.arange(4)[:, None], [7, 7, 7], one):
        break
    assert asked == [0]


def test_rows_and_drafts_must_fit() -> None:
    with pytest.raises(AssertionError):
        next(verify(torch.zeros(3, V), [1], lambda row: Sampled(0)))
