"""Cache policies: what every one must keep to, LRU and LFU against naive models, the bound."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.experts.trace import RoutingTrace
from engine.tiers.policies import DecayedLfu, Lru, Policy, Static
from engine.tiers.replay import POLICIES, make, replay, run, skewed

KEYS = st.integers(0, 11)
ACCESSES = st.lists(KEYS, max_size=80)
CAPACITY = st.integers(1, 8)
FEW = settings(max_examples=40, deadline=None)
MAKERS: dict[str, Callable[[int], Policy]] = {
    "lru": Lru,
    "lfu": lambda capacity: DecayedLfu(capacity, half_life=5),
    "static": lambda capacity: Static(capacity, (3, 1, 4, 5, 9, 2, 6)),
}


@pytest.mark.parametrize("name", MAKERS)
@FEW
@given(trace=st.lists(st.tuples(KEYS, st.booleans()), max_size=80), capacity=CAPACITY)
def test_what_every_policy_keeps_to(
    name: str, trace: list[tuple[int, bool]], capacity: int
) -> None:
    policy, held = MAKERS[name](capacity), set[int]()
    hits = misses = 0
    for key, ahead in trace:
        assert (key in policy) == (key in held)
        if not ahead:
            hits, misses = hits + (key in held), misses + (key not in held)
        gone = policy.admit(key) if ahead else policy.access(key)
        held.add(key)
        if gone is not None:
            assert gone != key
            held.remove(gone)
        assert key in policy
        assert len(policy) == len(held) <= capacity
        assert all(k in policy for k in held)
    assert hits + misses == sum(not ahead for _, ahead in trace)


@pytest.mark.parametrize("name", MAKERS)
@FEW
@given(trace=ACCESSES, capacity=st.integers(3, 8), data=st.data())
def test_what_is_in_use_stays(name: str, trace: list[int], capacity: int, data: st.DataObject):
    policy, last = MAKERS[name](capacity), list[int]()
    room = 1 if name == "static" else capacity - 1
    for key in trace:
        busy = frozenset(last[-room:]) - {key} if data.draw(st.booleans()) else frozenset()
        busy = frozenset(list(busy)[: room - 1]) if name == "static" else busy
        assert policy.access(key, busy) not in busy
        last.append(key)


@FEW
@given(trace=ACCESSES, capacity=CAPACITY)
def test_lru_is_the_naive_model(trace: list[int], capacity: int) -> None:
    policy, order = Lru(capacity), list[int]()
    for key in trace:
        want = None
        if key in order:
            order.remove(key)
        elif len(order) == capacity:
            want = order.pop(0)
        order.append(key)
        assert policy.access(key) == want


@FEW
@given(trace=ACCESSES, capacity=CAPACITY)
def test_decayed_lfu_is_the_naive_model(trace: list[int], capacity: int) -> None:
    policy, held = DecayedLfu(capacity, half_life=5), set[int]()
    counts = dict.fromkeys(range(12), 0.0)
    for key in trace:
        counts = {k: c * 0.5 ** (1 / 5) for k, c in counts.items()}
        counts[key] += 1
        if key not in held and len(held) == capacity:
            gone = policy.access(key)
            assert gone in held
            # Equal but for rounding counts as equal: which of them goes is free.
            assert counts[gone] <= min(counts[k] for k in held) * (1 + 1e-9)
            held.remove(gone)
        else:
            assert policy.access(key) is None
        held.add(key)


def test_counts_that_grow_without_end_are_scaled_down() -> None:
    policy = DecayedLfu(2, half_life=0.01)  # a weight grows by 2^100 an access
    assert [policy.access(k) for k in (1, 2, 2, 1, 2, 3)] == [None] * 5 + [1]
    assert 2 in policy


def test_static_never_lets_its_own_go() -> None:
    policy = Static(3, (7, 8, 9), spare=1)
    assert [policy.access(k) for k in (7, 8, 1, 2, 9)] == [None, None, None, 1, 2]
    assert 7 in policy and 8 in policy and len(policy) == 3


@FEW
@given(
    calls=st.lists(st.lists(KEYS, min_size=1, max_size=3, unique=True), min_size=1, max_size=40),
    capacity=CAPACITY,
)
def test_no_policy_beats_the_limit(calls: list[list[int]], capacity: int) -> None:
    rows = [(n, key) for n, keys in enumerate(calls) for key in sorted(keys)]
    step, ids = (np.array(column) for column in zip(*rows, strict=True))
    trace = RoutingTrace(
        12, step.astype(np.int32), np.zeros(len(rows), np.int16), ids.astype(np.int16)[:, None]
    )
    assert [list(c.experts) for c in trace.calls()] == [sorted(k) for k in calls]
    # Over the whole trace; over a part, a greedy policy may have been lucky in the other.
    results = {p: replay(trace, p, capacity, warm=0.0) for p in ("lru", "lfu", "limit")}
    assert all(r.hits + r.misses == len(rows) for r in results.values())
    assert results["limit"].hits == max(r.hits for r in results.values())


def test_the_limit_is_right_on_a_known_case() -> None:
    calls = [[k] for k in (1, 2, 3, 1, 2, 4, 1, 2)]
    assert sum(run(make("lru", 2), calls)) == 0
    assert _limit(calls, 2) == 4  # 1 and 2 stay, 3 and 4 pass by


def _limit(calls: list[list[int]], capacity: int) -> int:
    """By trying every choice: keep any `capacity` of what is there and what comes."""
    from itertools import combinations

    states = {frozenset[int](): 0}
    for (key,) in calls:
        following: dict[frozenset[int], int] = {}
        for held, hits in states.items():
            gained = hits + (key in held)
            pool = held | {key}
            for kept in combinations(pool, min(capacity, len(pool))):
                state = frozenset(kept)
                following[state] = max(following.get(state, 0), gained)
        states = following
    return max(states.values())


@FEW
@given(keys=st.lists(st.integers(0, 4), min_size=1, max_size=14), capacity=st.integers(1, 3))
def test_the_limit_is_that_of_trying_everything(keys: list[int], capacity: int) -> None:
    n = len(keys)
    trace = RoutingTrace(
        8, np.arange(n, dtype=np.int32), np.zeros(n, np.int16), np.array(keys, np.int16)[:, None]
    )
    got = replay(trace, "limit", capacity, warm=0.0).hits
    assert got == _limit([[k] for k in keys], capacity)


def test_popular_experts_are_found_by_every_policy() -> None:
    even, steep = (
        skewed(s, experts=32, layers=4, top_k=3, steps=120, topic=40) for s in (0.0, 1.5)
    )
    for policy in POLICIES:
        rates = [replay(t, policy, 32).hit_rate for t in (even, steep)]
        assert rates[1] > rates[0] + 0.1, policy
        assert replay(even, policy, 128).hit_rate > 0.95, "room for all means hits"


def test_an_empty_trace_has_no_hits() -> None:
    empty = RoutingTrace(
        8, np.zeros(0, np.int32), np.zeros(0, np.int16), np.zeros((0, 2), np.int16)
    )
    assert [replay(empty, p, 4).hit_rate for p in POLICIES] == [0.0] * len(POLICIES)
