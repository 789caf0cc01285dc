"""Hot experts on a device: the split adds up, the profile decides, a lost device costs nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from engine.errors import Aborted
from engine.experts.device import Device, Inline, ThreadDevice
from engine.experts.gpu import DeviceExperts, SplitExperts, choose_hot
from engine.experts.reference import ReferenceExperts
from engine.experts.stats import GPU, RAM, ExpertStats
from engine.experts.subset import narrow

from .layers import EXPERTS, HIDDEN, TOP_K, expert_layer, routing, tokens

PATIENCE = 30.0
SUMS = 1e-5
"""The same float32 terms of about one, added in another order."""


@pytest.fixture(params=["inline", "thread"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    device = Inline() if request.param == "inline" else ThreadDevice()
    yield device
    device.close()


def _split(device: Device, room: int = 4) -> tuple[SplitExperts, ExpertStats, ReferenceExperts]:
    stats = ExpertStats((0, 1), EXPERTS, TOP_K)
    split = SplitExperts(ReferenceExperts(), DeviceExperts(device), stats, room, review=4)
    reference = ReferenceExperts()
    for layer in (0, 1):
        for backend in (split, reference):
            backend.add_layer(layer, expert_layer(seed=layer))
    return split, stats, reference


def _heat(stats: ExpertStats, layer: int, *experts: int) -> None:
    stats.count(layer, np.array([[e] for e in experts], np.int32))


@given(count=st.integers(0, 6), seed=st.integers(0, 99), wanted=st.lists(st.booleans(), min_size=8))
@settings(max_examples=60, deadline=None)
def test_a_narrowed_batch_keeps_exactly_what_is_wanted(
    count: int, seed: int, wanted: list[bool]
) -> None:
    ids, weights = routing(count, seed)
    keep = torch.tensor(wanted[:EXPERTS])[ids.long()]
    part = narrow(ids, weights, keep)
    want = torch.zeros(count, EXPERTS).scatter_add(1, ids.long(), weights * keep)
    got = torch.zeros(count, EXPERTS)
    if part is not None:
        assert part.ids.shape[1] <= TOP_K
        dense = torch.zeros(len(part.rows), EXPERTS)
        dense.scatter_add_(1, part.ids.long(), part.weights)
        part.scatter(dense, got)
        assert all(wanted[e] for e in part.ids.flatten().tolist())
    assert torch.equal(got, want)


@pytest.mark.parametrize("count", [1, 2, 30])
@pytest.mark.parametrize("hot", [(), (1, 3), tuple(range(EXPERTS))])
def test_the_parts_add_up(device: Device, count: int, hot: tuple[int, ...]) -> None:
    split, stats, reference = _split(device, room=2 * EXPERTS)
    for layer in (0, 1):
        _heat(stats, layer, *hot)
    split.review()
    assert stats.on_gpu.sum() == 2 * len(hot)
    for layer in (0, 1):
        call = layer, tokens(count), *routing(count, seed=layer)
        got, want = split.wait(split.submit(*call)), reference.wait(reference.submit(*call))
        assert (got - want).abs().max() <= SUMS
    chosen = sum(int(sum((routing(count, seed=n)[0] == e).sum() for e in hot)) for n in (0, 1))
    assert stats.gpu_hits == chosen
    split.close()


def test_the_hottest_move_over_while_it_runs(device: Device) -> None:
    split, stats, _ = _split(device, room=3)
    ids = torch.tensor([[2, 5]], dtype=torch.int32)
    for step in range(8):
        for layer in (0, 1):
            stats.count(layer, ids.numpy())
            split.wait(split.submit(layer, tokens(1), ids, torch.ones(1, 2)))
        assert stats.on_gpu.any() == (step >= 3), "reviewed every four steps"
    assert stats.on_gpu.sum() == 3
    assert set(stats.on_gpu.nonzero()[1].tolist()) <= {2, 5}
    placement = np.frombuffer(stats.snapshot().placement, np.uint8).reshape(2, EXPERTS)
    assert ((placement == GPU) == stats.on_gpu).all()
    assert ((placement == RAM) == ~stats.on_gpu).all()
    # The subject changes; with it the experts.
    for _ in range(100):
        _heat(stats, 0, 7, 6, 1)
    split.review()
    assert stats.on_gpu[0].nonzero()[0].tolist() == [1, 6, 7]
    assert not stats.on_gpu[1].any()
    split.close()


def test_a_lost_device_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    device = ThreadDevice()
    split, stats, reference = _split(device, room=8)
    _heat(stats, 0, *range(EXPERTS))
    split.review()
    call = 0, tokens(5), *routing(5)
    want = reference.wait(reference.submit(*call))
    assert torch.equal(split.wait(split.submit(*call)), want)
    device.close()
    for _ in range(2):
        assert torch.equal(split.wait(split.submit(*call)), want)
    assert not stats.on_gpu.any()
    split.review()
    assert not stats.on_gpu.any(), "it is not tried again"
    assert [r.message for r in caplog.records if "stopped answering" in r.message] != []
    split.close()


def test_abort_ends_the_device_s_part() -> None:
    device = ThreadDevice()
    split, stats, _ = _split(device, room=8)
    _heat(stats, 0, *range(EXPERTS))
    split.review()
    hold, held = threading.Event(), threading.Event()
    device.compute("hold", lambda: held.set() or hold.wait(PATIENCE))
    assert held.wait(PATIENCE)
    call = 0, tokens(3), *routing(3)
    ticket = split.submit(*call)
    assert not ticket.done
    split.abort()
    hold.set()
    with pytest.raises(Aborted):
        split.wait(ticket)
    assert split.wait(split.submit(*call)).shape == (3, HIDDEN)
    split.close()
    device.close()


def test_experts_are_copied_not_shared() -> None:
    """What the device computes from must outlive the host's memory."""
    device, experts = Inline(), expert_layer(packed=False)
    held = DeviceExperts(device)
    held.hold(0, 3, experts[3])
    part = narrow(
        torch.tensor([[3]], dtype=torch.int32), torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool)
    )
    assert part is not None
    before = held.submit(0, part, tokens(1)).value()
    assert isinstance(experts[3].gate, Tensor) and before is not None
    experts[3].gate.zero_()
    after = held.submit(0, part, tokens(1)).value()
    assert after is not None and torch.equal(before, after) and before.abs().max() > 0
    held.drop(0, 3)
    assert len(held) == 0


@given(
    heat=arrays.arrays(np.float64, (3, 4), elements=st.integers(0, 9).map(float)),
    held=arrays.arrays(np.bool_, (3, 4)),
    room=st.integers(0, 12),
)
def test_what_is_chosen_as_hot(heat: np.ndarray, held: np.ndarray, room: int) -> None:
    held = held & (np.cumsum(held.reshape(-1)).reshape(held.shape) <= room)  # never too many
    go, come = choose_hot(heat, held, room)
    after = held.copy()
    for pair in go:
        assert held[pair]
        after[pair] = False
    for pair in come:
        assert not held[pair] and heat[pair] > 0
        after[pair] = True
    assert after.sum() <= room
    if after.sum() == room and 0 < room < after.size:
        # None outside is clearly hotter than any inside.
        assert heat[~after].max() <= 1.2 * heat[after].min() + 1e-9
    assert choose_hot(heat, after, room) == ([], []), "at rest once it is done"
