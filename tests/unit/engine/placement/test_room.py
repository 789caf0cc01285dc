"""How much memory experts get by themselves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.placement.room import SHARE, budget, experts_at_a_time

GB = 10**9
BYTES = st.integers(0, 10**13)


def test_experts_that_fit_need_no_budget() -> None:
    assert budget(10 * GB, 3 * GB, 2 * GB, 15 * GB, 0) == 0
    assert budget(10 * GB, 3 * GB, 2 * GB, 15 * GB - 1, 0) > 0


def test_others_leave_the_rest_and_the_system_its_share() -> None:
    assert budget(600 * GB, 20 * GB, 2 * GB, 100 * GB, GB) == int(SHARE * 80 * GB)
    assert budget(600 * GB, 20 * GB, 60 * GB, 100 * GB, GB) == 20 * GB


def test_the_least_is_given_where_nothing_is_left_but_not_most_of_what_is_free() -> None:
    assert budget(600 * GB, 24 * GB, 2 * GB, 22 * GB, GB) == GB
    assert budget(600 * GB, 24 * GB, 2 * GB, 3 * GB, GB) == 0


@given(BYTES, BYTES, BYTES, BYTES, BYTES)
def test_a_budget_is_safe(experts: int, dense: int, others: int, free: int, least: int) -> None:
    got = budget(experts, dense, others, free, least)
    assert 0 <= got <= experts
    assert got <= max(SHARE * max(free - dense, 0), min(least, free / 4))
    if got:
        assert experts > free - dense - others


@given(BYTES, BYTES, BYTES, BYTES)
def test_more_memory_never_holds_less(experts: int, room: int, more: int, least: int) -> None:
    some = experts_at_a_time(experts, room, room, least)
    assert some <= experts_at_a_time(experts, room + more, room + more, least) <= experts
