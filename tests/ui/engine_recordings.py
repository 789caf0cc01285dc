"""Engines as the panel hears of them: a large model on three tiers, a small one, and none."""

from __future__ import annotations

import functools
import itertools
import random
from array import array

from app.engines.view import EngineView
from engine.protocol import (
    PROTOCOL,
    EngineStatus,
    ExpertHeat,
    ExpertReport,
    HeatWindow,
    PlacementMap,
    Tier,
    TierUse,
)

BEGAN = 1_764_000_000.0
_EXPERT_BYTES = 24_772_608
"""One of K2's at INT4."""


def heat(
    layers: int, experts: int, top_k: int, tokens: int, *, first: int = 1, seed: int = 1
) -> ExpertHeat:
    """Choices in which few experts are favourites, others in every layer."""
    dice = random.Random(seed)
    counts = array("I")
    for _ in range(layers):
        weights = [dice.paretovariate(1.3) for _ in range(experts)]
        row = [0] * experts
        left = tokens * top_k
        while left:
            # A token chooses an expert once at most, so none has more hits than there are tokens.
            for expert in dice.choices(range(experts), weights, k=left):
                if row[expert] < tokens:
                    row[expert] += 1
                    left -= 1
        counts.extend(row)
    return ExpertHeat(
        tuple(range(first, first + layers)), experts, top_k, tokens, 133.0, counts.tobytes()
    )


def placement(of: ExpertHeat, gpu: int, ram: int) -> PlacementMap:
    """The hottest of each layer on the GPU, the next in RAM, the rest mapped."""
    counts, rows = array("I", of.counts), []
    for row in range(len(of.layers)):
        hits = counts[row * of.experts : (row + 1) * of.experts]
        order = sorted(range(of.experts), key=lambda e: -hits[e])
        letter = dict.fromkeys(order, "M") | dict.fromkeys(order[: gpu + ram], "R")
        letter |= dict.fromkeys(order[:gpu], "G")
        runs = itertools.groupby(letter[e] for e in range(of.experts))
        rows.append("".join(f"{len(list(run))}{key}" for key, run in runs))
    return PlacementMap(of.layers, of.experts, tuple(rows))


def tier_uses(of: ExpertHeat, placed: PlacementMap, expert_bytes: int) -> tuple[TierUse, ...]:
    """What the status says of these two."""
    counts = array("I", of.counts)
    letters = "".join(
        letter * int(n)
        for row in placed.rows
        for n, letter in zip(*[iter(_split(row))] * 2, strict=True)
    )
    tiers: tuple[tuple[str, Tier], ...] = (("G", "gpu"), ("R", "ram"), ("M", "mapped"))
    uses = []
    for letter, tier in tiers:
        held = [i for i, of_cell in enumerate(letters) if of_cell == letter]
        hits = sum(counts[i] for i in held)
        uses.append(TierUse(tier, len(held), len(held) * expert_bytes, hits))
    return tuple(uses)


def _split(row: str) -> list[str]:
    return ["".join(run) for _, run in itertools.groupby(row, str.isdigit)]


class Recorded:
    """A model that runs: its view, and the reports that it answers with."""

    def __init__(
        self, view: EngineView, report: ExpertReport, minute: ExpertHeat | None = None
    ) -> None:
        self.view, self.report = view, report
        self._minute = minute

    def answer(self, window: HeatWindow) -> ExpertReport:
        """What the engine would say."""
        if window == "start":
            return self.report
        return ExpertReport("minute", self.report.began, self._minute, self.report.placement)


@functools.cache
def k2(tokens: int = 1523) -> Recorded:
    """K2 Thinking on a workstation with a card of 24 GB and 192 GB of memory."""
    hot = heat(60, 384, 8, tokens)
    placed = placement(hot, 6, 88)
    status = EngineStatus(
        PROTOCOL,
        "0.1.0",
        4711,
        "ready",
        uptime_s=160.0,
        model="Kimi-K2-Thinking",
        family="kimi_k2",
        dtype="bfloat16",
        experts="native avx512_vnni beside NVIDIA GeForce RTX 4090",
        threads=24,
        context_length=262_144,
        resident_bytes=148_700_000_000,
        memory_total_bytes=206_158_430_208,
        gpu_bytes=21_900_000_000,
        gpu_total_bytes=25_757_220_864,
        prefill_tokens_per_s=187.0,
        decode_tokens_per_s=7.4,
        bound_prefill_tokens_per_s=402.0,
        bound_decode_tokens_per_s=11.9,
        cached_tokens=18_211,
        cache_pages=4096,
        cache_pages_used=331,
        cache_bytes=18_400_000_000,
        cache_form="bf16",
        snapshot_pages=1290,
        snapshot_bytes=5_800_000_000,
        routed_tokens=tokens,
        tiers=tier_uses(hot, placed, _EXPERT_BYTES),
        prediction_hit_rate=0.71,
    )
    report = ExpertReport("start", BEGAN, hot, placed)
    return Recorded(EngineView("ready", status), report, heat(60, 384, 8, 212, seed=2))


@functools.cache
def small(layers: int = 3, experts: int = 8, tokens: int = 640) -> Recorded:
    """A small model, all in RAM."""
    hot = heat(layers, experts, 2, tokens)
    placed = placement(hot, 0, experts)
    status = EngineStatus(
        PROTOCOL,
        "0.1.0",
        4712,
        "ready",
        model="nano",
        family="kimi_k2",
        dtype="float32",
        experts="native avx2",
        threads=2,
        context_length=2048,
        resident_bytes=412_000_000,
        memory_total_bytes=24_600_000_000,
        prefill_tokens_per_s=2140.0,
        decode_tokens_per_s=312.0,
        bound_prefill_tokens_per_s=21_000.0,
        bound_decode_tokens_per_s=1630.0,
        routed_tokens=tokens,
        tiers=tier_uses(hot, placed, 70_000),
    )
    report = ExpertReport("start", BEGAN, hot, placed)
    return Recorded(EngineView("ready", status), report, heat(layers, experts, 2, 0))


def unused() -> Recorded:
    """Loaded, and nothing asked yet."""
    return small(tokens=0)


def dense() -> Recorded:
    """A model without routed experts."""
    status = EngineStatus(PROTOCOL, "0.1.0", 4713, "ready", model="dense", dtype="float32")
    return Recorded(EngineView("ready", status), ExpertReport("start", BEGAN))
