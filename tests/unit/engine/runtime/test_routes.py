"""Routing counts of a real small model: all together, of one request, and in the reports."""

from __future__ import annotations

import queue
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.experts.base import ExpertWeights, Ticket
from engine.experts.reference import ReferenceExperts
from engine.experts.stats import GPU, MAPPED, ExpertStats
from engine.model.deepseek import Batch
from engine.model.loader import load_model
from engine.protocol import EngineStatus, ExpertHeat, LoadRequest, TierUse
from engine.runtime.loop import EngineThread
from engine.runtime.routes import expert_report, placement_map, tier_uses
from engine.text.chat_template import Prompt
from engine.tiny import TinyShape, write_tiny
from engine.types import Broke, Emission, Ended, Request, SamplingParams

PATIENCE = 30.0
SHAPE = TinyShape(layers=4, experts=8, context=512)
LAYERS, TOP_K = (1, 2, 3), 2


class Recorded(ReferenceExperts):
    """Keeps the ids that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: dict[int, Tensor] = {}

    def add_layer(self, layer: int, experts: list[ExpertWeights]) -> None:
        super().add_layer(layer, experts)

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        self.ids[layer] = ids.clone()
        return super().submit(layer, x, ids, weights)


def rows(heat: ExpertHeat) -> list[list[int]]:
    """Counts by layer."""
    counts = array("I", heat.counts).tolist()
    return [counts[i : i + heat.experts] for i in range(0, len(counts), heat.experts)]


def prompt_of(length: int, step: int = 7) -> list[int]:
    return [(3 + i * step) % 250 for i in range(length)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("routes") / "tiny", seed=4, shape=SHAPE)


def load(engine: EngineThread, folder: Path) -> None:
    """Anew, so that nothing is cached or counted."""
    over: queue.SimpleQueue[str] = queue.SimpleQueue()
    leave = engine.subscribe(lambda status: over.put(status.state))
    engine.load(LoadRequest(str(folder), dtype="float32", experts="reference", threads=1))
    while over.get(timeout=PATIENCE) != "loading":
        pass
    while (state := over.get(timeout=PATIENCE)) != "ready":
        assert state != "failed", engine.status().error
    leave()


@pytest.fixture
def engine(folder: Path) -> Iterator[EngineThread]:
    made = EngineThread()
    made.start()
    load(made, folder)
    yield made
    made.close()


def ask(engine: EngineThread, prompts: dict[str, Sequence[int]], max_tokens: int) -> int:
    """Have all answered together; how many tokens were computed."""
    over: queue.SimpleQueue[Emission] = queue.SimpleQueue()

    def sink(emission: Emission) -> None:
        if isinstance(emission, Ended | Broke):
            over.put(emission)

    for name, ids in prompts.items():
        params = SamplingParams(temperature=0.0, max_tokens=max_tokens)
        engine.submit(Request(name, Prompt("", tuple(ids), False, 0), params, (), sink))
    computed = 0
    for _ in prompts:
        ended = over.get(timeout=PATIENCE)
        assert isinstance(ended, Ended), ended
        usage = ended.usage
        # The last token that was sampled is not computed.
        computed += usage.prompt_tokens - usage.prompt_tokens_details.cached_tokens
        computed += usage.completion_tokens - 1
    return computed


def test_counts_are_those_of_the_router(engine: EngineThread, folder: Path) -> None:
    """Beside a second copy of the model whose expert backend writes down what it is given."""
    ids, spy = prompt_of(60), Recorded()
    model = load_model(folder, torch.float32, spy)
    model.forward(Batch([(model.new_cache(64), ids)]))
    model.close()
    expected = [np.bincount(spy.ids[n].reshape(-1), minlength=8).tolist() for n in LAYERS]
    assert ask(engine, {"one": ids}, max_tokens=1) == 60
    heat = engine.experts("start").heat
    assert heat is not None
    assert (heat.layers, heat.experts, heat.top_k, heat.tokens) == (LAYERS, 8, TOP_K, 60)
    assert rows(heat) == expected
    trace = engine.trace("one")
    assert trace is not None
    assert rows(trace.heat) == expected
    assert not trace.running


def test_every_choice_is_counted_once(engine: EngineThread) -> None:
    prompts = {"a": prompt_of(300), "b": prompt_of(33, 11), "c": prompt_of(5, 13)}
    computed = ask(engine, prompts, max_tokens=9)
    report = engine.experts("start")
    heat, minute = report.heat, engine.experts("minute").heat
    assert heat is not None and minute is not None
    assert heat.tokens == minute.tokens == computed
    assert [sum(row) for row in rows(heat)] == [computed * TOP_K] * len(LAYERS)
    assert rows(minute) == rows(heat), "all of it was in the last minute"
    status = engine.status()
    assert status.routed_tokens == computed
    assert sum(tier.hits for tier in status.tiers) == computed * TOP_K * len(LAYERS)
    assert sum(tier.experts for tier in status.tiers) == 8 * len(LAYERS)
    parts = [engine.trace(name) for name in prompts]
    assert all(parts)
    together = np.sum([rows(part.heat) for part in parts if part], axis=0)
    assert together.tolist() == rows(heat)


def test_a_request_in_company_is_told_apart(engine: EngineThread, folder: Path) -> None:
    """Each sequence's rows of a batch go to its own trace: the same as when it runs alone."""
    prompts = {"a": prompt_of(40), "b": prompt_of(33, 11)}
    alone = {}
    for name, ids in prompts.items():
        load(engine, folder)  # nothing is cached
        ask(engine, {name: ids}, max_tokens=12)
        alone[name] = engine.trace(name)
    load(engine, folder)
    ask(engine, prompts, max_tokens=12)
    for name in prompts:
        together, before = engine.trace(name), alone[name]
        assert together is not None and before is not None
        assert together.heat.tokens == before.heat.tokens
        assert rows(together.heat) == rows(before.heat)
    assert engine.trace("a") != engine.trace("b")


def test_only_the_last_requests_are_kept(engine: EngineThread) -> None:
    for i in range(18):
        ask(engine, {f"r{i}": prompt_of(4, 3 + 2 * i)}, max_tokens=1)
    assert engine.trace("r0") is None
    assert engine.trace("r1") is None
    assert engine.trace("r2") is not None
    assert engine.trace("nobody") is None


def test_bounds_are_known_once_somebody_looked(engine: EngineThread, folder: Path) -> None:
    over: queue.SimpleQueue[EngineStatus] = queue.SimpleQueue()
    leave = engine.subscribe(over.put)
    assert engine.status().bound_decode_tokens_per_s == 0
    engine.experts("start")
    while not (status := over.get(timeout=PATIENCE)).bound_decode_tokens_per_s:
        pass
    assert status.bound_prefill_tokens_per_s > 0
    leave()
    load(engine, folder)
    again = engine.status()
    assert again.bound_decode_tokens_per_s == status.bound_decode_tokens_per_s, "measured once"


def test_without_a_model_there_is_nothing() -> None:
    engine = EngineThread()
    report = engine.experts("minute")
    assert (report.window, report.heat, report.placement) == ("minute", None, None)
    assert engine.trace("one") is None


def test_tiers_in_runs() -> None:
    stats = ExpertStats((1, 2), 6, 2)
    stats.placement[0] = [GPU, GPU, 1, 1, 1, MAPPED]
    stats.placement[1, 5] = GPU
    now = stats.snapshot()
    placed = placement_map(now)
    assert placed.rows == ("2G3R1M", "5R1G")
    assert placed == expert_report(stats, "start").placement
    assert tier_uses(now, 10) == (
        TierUse("gpu", 3, 30, 0),
        TierUse("ram", 8, 80, 0),
        TierUse("mapped", 1, 10, 0),
    )
