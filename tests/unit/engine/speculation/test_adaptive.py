"""Drafts are made where they pay, and cost next to nothing where they do not."""

from __future__ import annotations

import random
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from engine.speculation.adaptive import Acceptance, StepCosts, drafts_that_pay

Cost = Callable[[int], float]


class _Sure(Acceptance):
    def chance(self, length: int) -> float:
        return 0.99


SURE = _Sure()


def linear(each: float) -> Cost:
    """Seconds of a step of n tokens; every token after the first costs `each` of the first."""
    return lambda n: 0.05 * (1 + each * (n - 1))


def speed(
    chance: float, cost: Cost, tokens: int = 2000, noise: float = 0.0, seed: int = 0
) -> float:
    """Tokens a second, over those without drafts, where each match goes on with `chance`."""
    draw = random.Random(seed)
    acceptance, costs = Acceptance(), StepCosts()
    matched, written, seconds = 4, 0, 0.0
    while written < 2000:
        drafted = drafts_that_pay(acceptance, costs, matched, 7, 1)
        going = 0
        for i in range(drafted + 1):  # the token after the drafts is compared, too
            right = draw.random() < chance
            acceptance.note(matched + i, right)
            if not right:
                break
            going += 1
        written += min(going, drafted) + 1
        took = cost(1 + drafted) * (1 + noise * draw.random())
        costs.note(1 + drafted, took)
        seconds += took
        matched = matched + going if going > drafted else 4
    return written * cost(1) * (1 + noise / 2) / seconds


@settings(deadline=None, max_examples=15)
@given(st.floats(0, 1), st.floats(0, 1.2), st.sampled_from([0.0, 0.3]), st.integers(0, 99))
def test_never_slower_than_without(chance: float, each: float, noise: float, seed: int) -> None:
    assert speed(chance, linear(each), noise=noise, seed=seed) > 0.97


@pytest.mark.parametrize(("chance", "each", "least"), [(0.97, 0.1, 3.4), (0.97, 0.5, 1.5)])
def test_copying_pays_as_much_as_the_costs_allow(chance: float, each: float, least: float) -> None:
    assert speed(chance, linear(each)) > least


def test_cheap_steps_are_drafted_into_at_low_chances() -> None:
    assert speed(0.3, linear(0.05)) > 1.2


def test_where_every_token_costs_a_whole_one_drafts_are_tried_ever_more_rarely() -> None:
    costs, drafted = StepCosts(), []
    for step in range(6000):
        count = drafts_that_pay(SURE, costs, 32, 7, 1)
        drafted += [step] * (count > 0)
        costs.note(1 + count, 0.05 * (1 + count) + 1e-9 * step)
        costs.note(99, 1.0)  # a step with a prompt says nothing about drafts
    assert 4 <= len(drafted) <= 12
    assert drafted[-1] - drafted[-2] > 1000


def test_drafts_come_back_when_they_become_cheap() -> None:
    costs = StepCosts()
    for step in range(3000):
        count = drafts_that_pay(SURE, costs, 32, 7, 1)
        costs.note(1 + count, 0.05 * (1 + (count if step < 300 else 0.1 * count)) + 1e-9 * step)
    assert drafts_that_pay(SURE, costs, 32, 7, 1) == 7


def test_other_sequences_share_the_step() -> None:
    """Eight tokens for all: what the others have is not free, but counts as their gain."""
    costs = StepCosts()
    for n in range(1, 12):
        costs.note(n, 0.05 if n <= 8 else 0.2)
    assert drafts_that_pay(SURE, costs, 32, 7, 1) == 7
    assert drafts_that_pay(SURE, costs, 32, 7, 7) == 1
    assert drafts_that_pay(SURE, costs, 32, 7, 8) == 0


def test_costs_are_medians_and_lines_between_them() -> None:
    costs = StepCosts()
    assert not costs.fresh(1)
    for seconds in (0.04, 9.0, 0.05, 0.06, 0.045):
        costs.note(1, seconds)
    costs.note(1, 0.045)  # the same step, told by another of its sequences
    costs.note(5, 0.13)
    assert costs.seconds(1) == 0.05
    assert costs.seconds(3) == pytest.approx(0.09)
    assert costs.seconds(7) == pytest.approx(0.17)
    assert costs.fresh(1)
    for i in range(300):
        costs.note(6, 0.15 + 1e-4 * i)
    assert not costs.fresh(5)
    assert costs.fresh(6)


def test_chances_are_learned_by_length() -> None:
    acceptance = Acceptance()
    assert acceptance.chance(2) < acceptance.chance(8) < acceptance.chance(400)
    for _ in range(100):
        acceptance.note(40, False)
        acceptance.note(3, True)
    assert acceptance.chance(32) < 0.05
    assert acceptance.chance(2) > 0.95
    assert acceptance.chance(8) == pytest.approx(0.7)
