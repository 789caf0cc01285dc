"""How what was foretold is held against what came."""

from __future__ import annotations

import pytest

from engine.bench.plan import Told, compare
from engine.bench.session import Reply
from engine.protocol import Placement, SpeedPlan


def told(*speeds: float) -> list[Placement]:
    return [
        Placement(
            verdict="runs well",
            expert_form="int4",
            why=(),
            decode=(SpeedPlan(512, speed, "memory"),),
            prefill=(SpeedPlan(512, 10 * speed, "processor"),),
            first_token_s=51.2 / speed,
        )
        for speed in speeds
    ]


def came(speed: float) -> Reply:
    first = 51.2 / speed
    return Reply(0.0, tuple(first + n / speed for n in range(5)))


def test_each_reply_is_held_against_the_machine_around_it() -> None:
    # A machine that slows down to a half, then recovers; the planner is right throughout.
    decode, prefill, first = compare(told(20, 20, 10, 10, 20), [came(s) for s in (20, 15, 10, 15)])
    assert decode.measured == pytest.approx((20, 15, 10, 15))
    assert decode.foretold == pytest.approx((20, 15, 10, 15))
    assert decode.error == pytest.approx(0) and prefill.error == pytest.approx(0)
    assert first.error < 0.07  # times are not as linear as speeds


def test_a_planner_that_is_wrong_is_found_out() -> None:
    for speed, error in ((20.0, 1.0), (5.0, 0.5)):
        decode, prefill, _ = compare(told(*[speed] * 6), [came(10)] * 5)
        assert decode.error == pytest.approx(error) and prefill.error == pytest.approx(error)


def test_one_disturbed_round_decides_nothing() -> None:
    assert Told("decode", "tokens/s", (10, 10, 10), (10, 2, 11)).error == pytest.approx(0)
    assert Told("decode", "tokens/s", (10, 10, 10), (5, 5, 11)).error == pytest.approx(1)
