"""Experts within a budget: the same results, never more memory, reading ahead, abort, a file that
shrinks. Memory is what the kernel's page table says."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.errors import Aborted, CheckpointError, ResourceError
from engine.experts.base import ExpertBackend, Ticket, tensors_of
from engine.experts.native import NativeExperts
from engine.experts.reference import ReferenceExperts
from engine.experts.stats import MAPPED, RAM, ExpertStats
from engine.tiers.pages import FilePages
from engine.tiers.policies import DecayedLfu, Lru, PolicyMaker, Static
from engine.tiers.readahead import ReadAhead
from engine.tiers.residency import TieredExperts
from engine.tiers.resident import ResidentSet

from .conftest import EXPERTS, HIDDEN, LAYERS, TOP_K, ExpertFile, random_call, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's page advice")

BUDGET = 16 << 20
POLICIES: dict[str, PolicyMaker] = {
    "lru": Lru,
    "lfu": DecayedLfu,
    "static": lambda capacity: Static(capacity, range(20), spare=capacity // 2),
}


@pytest.fixture
def plain(expert_file: ExpertFile) -> Iterator[NativeExperts]:
    """The same file without a budget, in other mappings: what is right."""
    plain = NativeExperts(threads=1)
    for layer, experts in enumerate(expert_file.layers):
        plain.add_layer(layer, experts)
    yield plain
    plain.close()


def _stats() -> ExpertStats:
    return ExpertStats(range(LAYERS), EXPERTS, TOP_K)


def _tiered(
    file: ExpertFile,
    budget: int = BUDGET,
    policy: PolicyMaker = DecayedLfu,
    ahead: ReadAhead | None = None,
    inner: ExpertBackend | None = None,
) -> tuple[TieredExperts, ExpertStats]:
    stats = _stats()
    inner = inner or NativeExperts(threads=1)
    tiered = TieredExperts(inner, stats, budget, policy, ahead, "map")
    for layer, experts in enumerate(file.layers):
        tiered.add_layer(layer, experts)
    return tiered, stats


class _Guess:
    """A router that says what it was told; what matters here is what follows from a guess."""

    def __init__(self) -> None:
        self.ids = torch.zeros(1, TOP_K, dtype=torch.int32)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.ids, torch.ones(self.ids.shape)


def _guessing() -> tuple[ReadAhead, _Guess]:
    ahead, guess = ReadAhead(share=1.0), _Guess()
    for layer in range(LAYERS):
        ahead.add_layer(layer, guess)
    return ahead, guess


@pytest.mark.parametrize("policy", POLICIES)
def test_never_more_memory_than_the_budget(expert_file: ExpertFile, policy: str) -> None:
    assert expert_file.nbytes > 3.7 * BUDGET
    ahead, guess = _guessing()
    tiered, stats = _tiered(expert_file, policy=POLICIES[policy], ahead=ahead)
    used = most = 0
    for step in range(12):
        for layer in range(LAYERS):
            call = random_call(tokens=1, seed=step * LAYERS + layer)
            guess.ids = random_call(1, seed=step * LAYERS + layer + 1)[1]  # always right
            run(tiered, layer, call)
            tiered.settle()
            used += call[1].numel()
            resident = expert_file.resident()
            most = max(most, resident)
            assert resident <= BUDGET
    assert most > BUDGET // 2, "a budget that is not used would make this test blind"
    held = (stats.placement == RAM).sum()
    assert 0 < held < LAYERS * EXPERTS
    # What was read ahead for the layer after the last call may still be on its way.
    assert 0 < stats.read_ahead_hits <= stats.mapped_hits <= used
    tiered.close()


@pytest.mark.parametrize("tokens", [0, 1, 3, 40])
@pytest.mark.parametrize("budget", [2 << 20, BUDGET, 200 << 20])
def test_results_are_those_without_a_budget(
    expert_file: ExpertFile, plain: NativeExperts, tokens: int, budget: int
) -> None:
    tiered, _ = _tiered(expert_file, budget)
    for layer in range(LAYERS):
        call = random_call(tokens, seed=layer)
        got, want = run(tiered, layer, call), run(plain, layer, call)
        # In waves the same float32 terms are added in another order.
        assert (got - want).abs().max() <= 1e-5 if tokens else got.shape == want.shape
    tiered.close()


def test_a_long_prompt_stays_within_the_budget(expert_file: ExpertFile) -> None:
    tiered, _ = _tiered(expert_file)
    for layer in range(LAYERS):
        run(tiered, layer, random_call(64, seed=layer))
        assert expert_file.resident() <= BUDGET
    tiered.close()


def test_hits_are_counted_by_where_the_expert_was(expert_file: ExpertFile) -> None:
    tiered, stats = _tiered(expert_file)
    x, weights = torch.randn(2, HIDDEN), torch.ones(2, 2)
    ids = torch.tensor([[3, 5], [3, 7]], dtype=torch.int32)
    for _ in range(2):
        stats.count(0, ids.numpy())
        run(tiered, 0, (x, ids, weights))
    # Four choices of three experts: all from the file the first time, all from memory then.
    assert stats.snapshot().tier_hits == (0, 4, 4)
    assert stats.placement[0, [3, 5, 7]].tolist() == [RAM] * 3
    assert stats.placement[0, [2, 4]].tolist() == [MAPPED] * 2
    tiered.close()


def test_what_was_guessed_right_is_there_before_it_is_needed(expert_file: ExpertFile) -> None:
    ahead, guess = _guessing()
    tiered, stats = _tiered(expert_file, ahead=ahead)
    guess.ids = torch.tensor([[1, 2, 3, 4]], dtype=torch.int32)
    weights = torch.ones(1, 4)
    x = torch.randn(1, HIDDEN)
    run(tiered, 0, (x, torch.tensor([[9, 8, 7, 6]], dtype=torch.int32), weights))
    run(tiered, 1, (x, torch.tensor([[1, 2, 3, 20]], dtype=torch.int32), weights))
    snapshot = stats.snapshot()
    assert (snapshot.predicted, snapshot.predicted_right) == (4, 3)
    assert (stats.mapped_hits, stats.read_ahead_hits) == (8, 3)
    assert snapshot.prediction_hit_rate == 3 / 8
    tiered.close()


def test_too_small_a_budget_is_said(expert_file: ExpertFile) -> None:
    tiered, _ = _tiered(expert_file, budget=1000)
    with pytest.raises(ResourceError) as caught:
        tiered.submit(0, *random_call(1, seed=0))
    assert caught.value.code == "budget_too_small"
    tiered.close()


class _Stopped(ReferenceExperts):
    """Aborts itself in the middle of the second wave."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.stop = lambda: None

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        self.calls += 1
        if self.calls == 2:
            self.stop()
        return super().submit(layer, x, ids, weights)


def test_abort_ends_the_waves(expert_file: ExpertFile) -> None:
    inner = _Stopped()
    tiered, _ = _tiered(expert_file, budget=4 << 20, inner=inner)
    inner.stop = tiered.abort
    call = random_call(8, seed=1)
    with pytest.raises(Aborted):
        run(tiered, 0, call)
    assert inner.calls == 2
    assert run(tiered, 0, call).shape == call[0].shape, "it serves on"
    tiered.close()


def test_calls_that_are_not_waited_for_do_not_wear_the_room_out(expert_file: ExpertFile) -> None:
    tiered, _ = _tiered(expert_file)
    for n in range(20):
        tiered.submit(n % LAYERS, *random_call(1, seed=n))
    kept = [tiered.submit(n % LAYERS, *random_call(1, seed=n)) for n in range(20)]
    for n, ticket in enumerate(kept):
        assert torch.equal(tiered.wait(ticket), run(tiered, n % LAYERS, random_call(1, seed=n)))
    tiered.close()


def test_a_file_that_shrinks_is_a_typed_error(expert_file: ExpertFile, tmp_path: Path) -> None:
    import mmap

    path = tmp_path / "weights"
    path.write_bytes(bytes(1 << 20))
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        pages = FilePages()
        ranges = pages.ranges([torch.frombuffer(mapped, dtype=torch.uint8)])
        pages.read(ranges)
        file.truncate(4096)
    with pytest.raises(CheckpointError) as caught:
        pages.read(ranges)
    assert caught.value.code == "shard_truncated"
    pages.close()


def test_memory_that_is_no_file_is_never_dropped() -> None:
    pages = FilePages()
    own = torch.arange(1 << 20)
    assert pages.ranges([own]) == ()
    pages = ResidentSet()
    pages.add(0, [own])
    pages.begin(0)
    pages.read(0)
    pages.drop(0)
    assert torch.equal(own, torch.arange(1 << 20))


def test_pages_come_and_go(expert_file: ExpertFile) -> None:
    pages = ResidentSet()
    experts = [tensors_of(e) for layer in expert_file.layers for e in layer]
    for key, tensors in enumerate(experts):
        pages.add(key, tensors)
    size = sum(t.nbytes for t in experts[0])
    assert size <= pages.largest <= size + 12 * 4096
    held: set[int] = set()
    for key in (5, 6, 4, 30, 7, 0, 71, 31):
        pages.begin(key)
        pages.read(key)
        held.add(key)
        assert len(held) * size <= expert_file.resident() <= len(held) * pages.largest
    before = [t.clone() for t in experts[6]]
    for key in (6, 30, 4, 0, 5, 31, 7, 71):
        pages.drop(key)
        held.remove(key)
        assert len(held) * size <= expert_file.resident() <= len(held) * pages.largest
    assert expert_file.resident() == 0
    assert all(torch.equal(a, b) for a, b in zip(before, experts[6], strict=True))
    pages.close()


def test_reading_sleeps_without_holding_python_up(expert_file: ExpertFile) -> None:
    """Four readers and the caller get on at once; the counts show that none was lost."""
    tiered, stats = _tiered(expert_file, budget=200 << 20)
    seen: list[int] = []
    watcher = threading.Thread(target=lambda: seen.append(int(stats.snapshot().tokens)))
    watcher.start()
    for n in range(LAYERS * EXPERTS // TOP_K):
        layer, first = divmod(n * TOP_K, EXPERTS)
        ids = torch.arange(first, first + TOP_K, dtype=torch.int32)[None]
        run(tiered, layer, (torch.randn(1, HIDDEN), ids, torch.ones(1, TOP_K)))
    watcher.join()
    assert seen == [0]
    assert np.all(stats.placement == RAM)
    assert expert_file.resident() >= expert_file.nbytes * 0.99
    tiered.close()
