"""A mixture layer on two devices: same numbers, true overlap, abort, loss."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.errors import Aborted, ResourceError
from engine.experts.base import Ticket
from engine.experts.device import ThreadDevice
from engine.experts.hybrid import HybridExperts
from engine.experts.reference import ReferenceExperts
from engine.experts.timeline import Timeline
from engine.model.moe import MixtureOfExperts

from .layers import HIDDEN, expert_layer, mixture, tokens

PATIENCE = 30.0


@pytest.fixture
def device() -> Iterator[ThreadDevice]:
    device = ThreadDevice(Timeline(limit=1000))
    yield device
    device.close()


class Meeting(ReferenceExperts):
    """Experts that begin only when somebody else has begun too."""

    def __init__(self, meet: threading.Barrier) -> None:
        super().__init__()
        self._meet = meet

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        self._meet.wait(PATIENCE)
        return super().submit(layer, x, ids, weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_same_bits_as_the_plain_path(device: ThreadDevice, count: int, dtype: torch.dtype) -> None:
    plain = mixture(dtype)
    plain.experts.add_layer(0, expert_layer())
    beside = replace(plain, experts=HybridExperts(plain.experts, device), device=device)
    x = tokens(count, dtype)
    assert torch.equal(beside(0, x), plain(0, x))


def test_shared_and_routed_experts_run_at_the_same_time(device: ThreadDevice) -> None:
    meet = threading.Barrier(2)
    plain = mixture()
    experts = Meeting(meet)
    experts.add_layer(0, expert_layer())

    def shared(x: Tensor) -> Tensor:
        meet.wait(PATIENCE)
        assert plain.shared is not None
        return plain.shared(x)

    layer = MixtureOfExperts(plain.router, shared, HybridExperts(experts, device), device)
    x = tokens(2)
    plain.experts.add_layer(0, expert_layer())
    want = plain(0, x)
    for _ in range(5):
        assert torch.equal(layer(0, x), want)
    spans = device.timeline.spans()
    routed = [s for s in spans if s.who == "experts"]
    beside = [s for s in spans if s.what == "shared 0"]
    assert len(routed) == len(beside) == 5
    assert all(a.overlaps(b) for a, b in zip(routed, beside, strict=True))


class Interrupted(ReferenceExperts):
    """Experts that are told to stop while they compute."""

    def submit(self, layer: int, x: Tensor, ids: Tensor, weights: Tensor) -> Ticket:
        self.begun.set()
        assert self.told.wait(PATIENCE)
        return super().submit(layer, x, ids, weights)

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.told = threading.Event(), threading.Event()


def test_abort_ends_the_running_and_the_queued_trip(device: ThreadDevice) -> None:
    inner = Interrupted()
    inner.add_layer(0, expert_layer())
    experts = HybridExperts(inner, device)
    ids = torch.tensor([[0, 1]], dtype=torch.int32)
    call = (0, tokens(1), ids, torch.ones(1, 2))
    tickets = [experts.submit(*call) for _ in range(2)]
    assert inner.begun.wait(PATIENCE)
    assert not tickets[0].done
    experts.abort()
    inner.told.set()
    with pytest.raises(Aborted):
        experts.wait(tickets[1])
    assert experts.wait(experts.submit(*call)).shape == (1, HIDDEN), "it serves on"


def test_a_lost_device_is_a_typed_error() -> None:
    device = ThreadDevice()
    plain = mixture()
    plain.experts.add_layer(0, expert_layer())
    layer = replace(plain, experts=HybridExperts(plain.experts, device), device=device)
    device.close()
    with pytest.raises(ResourceError) as caught:
        layer(0, tokens(1))
    assert caught.value.code == "device_lost"
    assert plain(0, tokens(1)).shape == (1, HIDDEN), "the processor's part is unharmed"
