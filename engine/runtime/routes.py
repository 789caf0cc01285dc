"""What the counters of routed experts tell the outside: heat, tiers, and one request's share."""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.experts.stats import TIERS, ExpertStats, StatsSnapshot
from engine.protocol import ExpertHeat, ExpertReport, HeatWindow, PlacementMap, Tier, TierUse
from engine.scheduler.scheduler import Work

_KEEP = 16
_LETTERS: dict[Tier, str] = {"gpu": "G", "ram": "R", "mapped": "M"}


@dataclass(slots=True)
class _Route:
    """One request: hits [layers, experts] of its tokens so far."""

    hits: NDArray[np.uint32]
    tokens: int = 0
    began: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)


class RequestRoutes:
    """The experts of the last requests. The engine thread adds; any thread may look."""

    def __init__(self, stats: ExpertStats) -> None:
        self._stats = stats
        self._routes: OrderedDict[str, _Route] = OrderedDict()

    def add(self, work: Sequence[Work]) -> None:
        """Note a step that was computed: its tokens lie in the batch in the order of ``work``."""
        ends = list(itertools.accumulate(len(item.computes) for item in work))
        stats = self._stats
        if not ends or any(len(stats.last.get(n, ())) != ends[-1] for n in stats.layers):
            return  # nothing was routed, or not the whole batch at once
        ids = np.stack([stats.last[layer] for layer in stats.layers])  # [L, T, K]
        rows = np.arange(len(stats.layers))[:, None, None]
        begin = 0
        for item, end in zip(work, ends, strict=True):
            route = self._route(item.sequence.request.id)
            np.add.at(route.hits, (rows, ids[:, begin:end]), 1)
            route.tokens += end - begin
            route.last = time.monotonic()
            begin = end

    def heat(self, request_id: str) -> ExpertHeat | None:
        """What a request chose; None once too many others came after it."""
        route = self._routes.get(request_id)
        if route is None:
            return None
        stats = self._stats
        return ExpertHeat(
            layers=stats.layers,
            experts=stats.experts,
            top_k=stats.top_k,
            tokens=route.tokens,
            seconds=route.last - route.began,
            counts=route.hits.astype("<u4").tobytes(),
        )

    def _route(self, request_id: str) -> _Route:
        route = self._routes.get(request_id)
        if route is None:
            route = _Route(np.zeros(self._stats.hits.shape, np.uint32))
            self._routes[request_id] = route
            if len(self._routes) > _KEEP:
                self._routes.popitem(last=False)
        self._routes.move_to_end(request_id)
        return route


def expert_report(stats: ExpertStats, window: HeatWindow) -> ExpertReport:
    """The maps as they are now."""
    now = stats.snapshot()
    start = window == "start"
    heat = ExpertHeat(
        layers=now.layers,
        experts=now.experts,
        top_k=now.top_k,
        tokens=now.tokens if start else now.minute_tokens,
        seconds=now.seconds if start else now.minute_seconds,
        counts=now.counts if start else now.minute_counts,
    )
    return ExpertReport(window, now.began, heat, placement_map(now))


def placement_map(now: StatsSnapshot) -> PlacementMap:
    """Where each expert is, run-length coded."""
    tiers = np.frombuffer(now.placement, np.uint8).reshape(-1, now.experts)  # [layers, experts]
    return PlacementMap(now.layers, now.experts, tuple(_runs(row) for row in tiers))


def tier_uses(now: StatsSnapshot, expert_bytes: int) -> tuple[TierUse, ...]:
    """What each tier holds and served. ``expert_bytes``: of one expert."""
    held = np.bincount(np.frombuffer(now.placement, np.uint8), minlength=len(TIERS)).tolist()
    return tuple(
        TierUse(tier, experts, experts * expert_bytes, hits)
        for tier, experts, hits in zip(_LETTERS, held, now.tier_hits, strict=True)
    )


def _runs(row: NDArray[np.uint8]) -> str:
    """``12G300R72M`` of a layer's tiers [experts]."""
    letters = tuple(_LETTERS.values())
    edges = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
    return "".join(
        f"{end - begin}{letters[row[begin]]}" for begin, end in itertools.pairwise(edges)
    )
