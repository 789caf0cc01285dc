"""What steps cost is found from measurements, and chunks keep within what replies bear."""

from __future__ import annotations

import random
from collections.abc import Callable
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.scheduler.budget import LEAST, REST, SLOWDOWN, Chunks, Pace
from engine.scheduler.cost import FEW, Load, StepCost

Seconds = Callable[[Load], float]


def machine(
    fixed: float, token: float, position: float, span: float = 0.0, many: float = 0.0
) -> Seconds:
    """True costs; ``many``: what a step of many tokens takes besides."""

    def seconds(load: Load) -> float:
        more = many + span * load.spans if load.tokens > FEW else 0.0
        return fixed + token * load.tokens + position * load.reach + more

    return seconds


FAST = machine(2e-3, 4e-4, 2e-9, 1e-7, 4e-3)
"""A small model: Python weighs in large steps."""
LARGE = machine(0.02, 0.08, 1e-8, 1e-6)
"""A token brings experts of its own."""
DEEP = machine(5e-3, 1e-3, 2e-6, 1e-6)
"""Attention outweighs all."""


def prompt(cost: StepCost, seconds: Seconds, tokens: int, noise: Callable[[], float]) -> None:
    for depth in range(0, tokens, 512):
        load = Load().prefilling(min(512, tokens - depth), depth)
        cost.note(load, seconds(load) * noise())


@pytest.mark.parametrize("seconds", [FAST, LARGE, DEEP])
def test_a_prompt_s_time_is_foretold_from_its_first_third(seconds: Seconds) -> None:
    """Linear extrapolation would be off by a factor where attention outweighs."""
    rng = random.Random(3)
    cost = StepCost()
    prompt(cost, seconds, 20_000, lambda: rng.lognormvariate(0, 0.1))
    truth = sum(seconds(Load().prefilling(512, d)) for d in range(20_480, 60_416, 512))
    assert cost.prefill(20_480, 60_416, 512) == pytest.approx(truth, rel=0.25)


def test_outliers_and_a_change_of_speed() -> None:
    rng = random.Random(4)

    def noise() -> float:
        return 10.0 if rng.random() < 0.05 else rng.lognormvariate(0, 0.05)

    cost = StepCost()
    for factor in (1.0, 3.0):
        for i in range(120):
            load = Load().decoding(1 + i % 4, 500)
            cost.note(load, factor * FAST(load) * noise())
        asked = Load().decoding(2, 500)
        assert cost.seconds(asked) == pytest.approx(factor * FAST(asked), rel=0.2)


@given(
    steps=st.lists(
        st.tuples(st.integers(1, 600), st.integers(0, 300_000), st.floats(1e-6, 1e3)), max_size=40
    ),
    asked=st.tuples(st.integers(0, 600), st.integers(0, 300_000)),
)
@settings(max_examples=100, deadline=None)
def test_no_cost_is_negative(steps: list[tuple[int, int, float]], asked: tuple[int, int]) -> None:
    """So more work never seems to take less time, whatever was measured."""
    cost = StepCost()
    for tokens, depth, seconds in steps:
        cost.note(Load().prefilling(tokens, depth), seconds)
    tokens, depth = asked
    load = Load().prefilling(tokens, depth)
    assert cost.seconds(load) >= 0
    if tokens not in (0, FEW):
        assert cost.seconds(load) <= cost.seconds(load.prefilling(1, depth))
    assert cost.prefill(depth, depth + tokens, 512) >= 0
    bound = cost.seconds(Load().decoding(1, 100)) * SLOWDOWN
    most = cost.most(Load().decoding(1, 100), depth, bound, 512)
    assert 0 <= most <= 512
    if most:
        load = Load().decoding(1, 100).prefilling(most, depth)
        assert cost.seconds(load) <= bound


@pytest.mark.parametrize("seconds", [FAST, LARGE, DEEP])
@pytest.mark.parametrize("depth", [0, 3_000, 40_000])
def test_a_reply_goes_on_beside_a_prompt(seconds: Seconds, depth: int) -> None:
    """Of 400 steps hardly one in twenty takes much longer, and the prompt advances."""
    rng = random.Random(5)
    pace = Pace(StepCost())

    def measure(load: Load, chunk: int) -> float:
        pace.note(load, seconds(load) * rng.lognormvariate(0, 0.05), chunk, True)
        return seconds(load)

    prompt(pace.cost, seconds, min(depth, 10_000), lambda: 1.0)
    for i in range(20):
        measure(Load().decoding(1, 200 + i), 0)
    slower, begin = [], depth
    for i in range(400):
        decoding = Load().decoding(1, 220 + i)
        chunk = pace.chunk(decoding, depth, 512)
        assert 0 <= chunk <= 512
        slower.append(measure(decoding.prefilling(chunk, depth), chunk) / seconds(decoding))
        depth += chunk
    assert sorted(slower)[int(0.95 * len(slower)) - 1] <= 2.5
    assert depth - begin >= (400 // (REST + 1)) * LEAST / 2
    spare = sum(slower) - len(slower)
    assert spare > 0.1 * len(slower), "prompts get their share of the time"


def test_replies_count_as_fast_as_they_are_now() -> None:
    """What was slow when a reply began, and is not any more, is no measure for chunks."""
    rng = random.Random(6)
    pace = Pace(StepCost())
    depth, slower = 3_000, []
    prompt(pace.cost, FAST, depth, lambda: 1.0)
    for i in range(430):
        decoding = Load().decoding(1, 200 + i)
        chunk = pace.chunk(decoding, depth, 512) if i >= 30 else 0
        load = decoding.prefilling(chunk, depth) if chunk else decoding
        noise = rng.lognormvariate(0, 0.05) * (3.0 if i < 30 else 1.0)
        pace.note(load, FAST(load) * noise, chunk, True)
        depth += chunk
        slower.append(FAST(load) / FAST(decoding))
    assert sorted(slower[80:])[int(0.95 * 350) - 1] <= 2.5


def test_nothing_is_known_at_first() -> None:
    pace = Pace(StepCost())
    assert pace.chunk(Load().decoding(1, 5), 0, 512) <= LEAST
    assert pace.cost.seconds(Load().decoding(1, 5)) == 0
    assert pace.cost.prefill(0, 100, 512) == 0


def test_chunks_where_nobody_decodes() -> None:
    chunks = Chunks(most=4, stream_from=10, streamed=16)
    assert [chunks.of(n) for n in (1, 4, 9, 10, 16, 45)] == [1, 4, 4, 10, 16, 16]
    assert Chunks(most=4).of(45) == 4
    assert median(Chunks().of(n) for n in (511, 512, 100_000)) == 512


def test_deep_in_a_prompt_chunks_are_larger() -> None:
    chunks = Chunks(most=4, deep_from=100, deep=12)
    assert [chunks.of(50, depth) for depth in (0, 99, 100, 1000)] == [4, 4, 12, 12]
    assert chunks.of(7, 100) == 7
