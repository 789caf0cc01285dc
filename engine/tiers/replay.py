"""Cache policies judged on recorded routing: what share of the needed experts would be there?"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.experts.trace import RoutingTrace
from engine.tiers.policies import DecayedLfu, Lru, Policy, Static

POLICIES = ("static", "lru", "lfu", "limit")
"""``limit`` knows the future (Belady 1966): no policy can do better."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Hits and misses over the judged part of a trace."""

    policy: str
    capacity: int
    hits: int
    misses: int

    @property
    def hit_rate(self) -> float:
        """0 to 1; 0 for an empty trace."""
        total = self.hits + self.misses
        return self.hits / total if total else 0.0


def replay(trace: RoutingTrace, policy: str, capacity: int, warm: float = 0.5) -> Replay:
    """Run a trace through a policy with room for `capacity` experts of any layer.

    The first `warm` share of the calls fills the cache and is the profile of ``static``; hits are
    counted over the rest only, so that no policy is judged on what it was made from.
    """
    return replay_calls(gather(trace), policy, capacity, warm)


def gather(trace: RoutingTrace) -> list[list[int]]:
    """Of each call the keys that it needs, layer x experts + expert."""
    return [[call.layer * trace.experts + e for e in call.experts] for call in trace.calls()]


def replay_calls(
    keys: Sequence[Sequence[int]], policy: str, capacity: int, warm: float = 0.5
) -> Replay:
    """:func:`replay` of what :func:`gather` made, for several policies on one trace."""
    split = int(len(keys) * warm)
    if policy == "limit":
        hits = _belady(keys, capacity)
    else:
        hits = run(make(policy, capacity, keys[:split]), keys)
    judged = hits[split:]
    wanted = sum(len(k) for k in keys[split:])
    return Replay(policy, capacity, sum(judged), wanted - sum(judged))


def make(policy: str, capacity: int, profile: Sequence[Sequence[int]] = ()) -> Policy:
    """A policy by name; `profile` is what ``static`` ranks by."""
    if policy == "lru":
        return Lru(capacity)
    if policy == "lfu":
        return DecayedLfu(capacity)
    assert policy == "static", policy
    counted = Counter(key for keys in profile for key in keys)
    widest = max((len(keys) for keys in profile), default=1)
    spare = min(capacity, max(1, min(widest, capacity // 8)))
    return Static(capacity, (key for key, _ in counted.most_common()), spare)


def run(policy: Policy, calls: Sequence[Sequence[int]]) -> list[int]:
    """Hits of each call."""
    result = []
    for keys in calls:
        hits = 0
        for key in keys:
            hits += key in policy
            policy.access(key)
        result.append(hits)
    return result


def _belady(calls: Sequence[Sequence[int]], capacity: int) -> list[int]:
    """Hits of each call if always that is thrown out which is needed last again."""
    uses: dict[int, list[int]] = defaultdict(list)
    flat = [(n, key) for n, keys in enumerate(calls) for key in keys]
    for at, (_, key) in enumerate(flat):
        uses[key].append(at)
    for places in uses.values():
        places.reverse()
    never = len(flat)
    held: dict[int, int] = {}
    heap: list[tuple[int, int]] = []
    hits = [0] * len(calls)
    for n, key in flat:
        uses[key].pop()
        if key in held:
            hits[n] += 1
        following = uses[key][-1] if uses[key] else never
        if key not in held and len(held) >= capacity:
            while True:
                when, victim = heapq.heappop(heap)
                if held.get(victim) == -when:
                    break
            if -when < following:  # the newcomer itself would be the worst to keep
                heapq.heappush(heap, (when, victim))
                continue
            del held[victim]
        held[key] = following
        heapq.heappush(heap, (-following, key))
    return hits


def skewed(
    skew: float,
    *,
    experts: int = 64,
    layers: int = 26,
    top_k: int = 6,
    steps: int = 240,
    topic: int = 60,
    seed: int = 0,
) -> RoutingTrace:
    """A made-up trace: popularity ~ rank^-skew per layer; half of it is dealt anew each topic.

    `topic` steps long, a stretch of text on one subject shifts which experts are popular.
    """
    rng = np.random.default_rng(seed)
    weight = (1.0 + np.arange(experts)) ** -skew
    lasting = np.stack([rng.permutation(weight) for _ in range(layers)])  # [L, E]
    passing = lasting
    rows = []
    for step in range(steps):
        if step % topic == 0:
            passing = np.stack([rng.permutation(weight) for _ in range(layers)])
        log = np.log(lasting + passing)
        # Gumbel's trick: the top-k of noisy logs are a draw without repeats.
        noisy = log + rng.gumbel(size=log.shape)
        rows.append(np.argpartition(-noisy, top_k, axis=1)[:, :top_k].astype(np.int16))
    ids = np.concatenate(rows)  # [steps * L, K]
    step_of = np.repeat(np.arange(steps, dtype=np.int32), layers)
    layer_of = np.tile(np.arange(layers, dtype=np.int16), steps)
    return RoutingTrace(experts, step_of, layer_of, ids)
