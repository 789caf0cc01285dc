"""Long prompts stream their experts: the reference's bits, the schedule by timestamps, abort."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
import torch

from engine.errors import Aborted, ResourceError
from engine.experts.base import ExpertWeights, tensors_of
from engine.experts.device import Pending, ThreadDevice
from engine.experts.reference import ReferenceExperts
from engine.experts.streaming import BUFFERS, LongPrompts, StreamedExperts
from engine.experts.timeline import Span, Timeline

from .layers import EXPERTS, HIDDEN, expert_layer, routing, tokens

PATIENCE = 30.0
T = TypeVar("T")
LAYERS = 5
LAYER_BYTES = 8 * 3 * 1280
"""Of a packed layer in a buffer: 1,024 bytes of nibbles and 128 of scales a matrix, aligned."""


@pytest.fixture
def device() -> Iterator[ThreadDevice]:
    device = ThreadDevice(Timeline(limit=1000))
    yield device
    device.close()


def _layers(packed: bool = True) -> list[list[ExpertWeights]]:
    return [expert_layer(seed=n, packed=packed) for n in range(LAYERS)]


def _reference(layers: list[list[ExpertWeights]]) -> ReferenceExperts:
    reference = ReferenceExperts()
    for n, experts in enumerate(layers):
        reference.add_layer(n, experts)
    return reference


def _streamed(
    device: ThreadDevice, layers: list[list[ExpertWeights]], buffer_bytes: int = LAYER_BYTES
) -> StreamedExperts:
    streamed = StreamedExperts(device, buffer_bytes)
    for n, experts in enumerate(layers):
        streamed.add_layer(n, experts)
    return streamed


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("share", [1, 3, 8])
def test_bits_are_the_reference_s(device: ThreadDevice, packed: bool, share: int) -> None:
    """Whole layers in a buffer, a third (3 + 3 + 2 experts) and one expert at a time."""
    layers = _layers(packed)
    whole = LAYER_BYTES if packed else 8 * 3 * 8192
    streamed, reference = _streamed(device, layers, -(-whole // share)), _reference(layers)
    for step in range(2):
        x = tokens(40, seed=step)
        for n in range(LAYERS):
            call = n, x, *routing(40, seed=step * LAYERS + n)
            got = streamed.wait(streamed.submit(*call))
            assert torch.equal(got, reference.wait(reference.submit(*call)))
    # What the other thread computed in inference mode is an ordinary input to the next layer.
    assert not got.requires_grad


def _by_what(spans: list[Span], who: str) -> dict[str, Span]:
    return {s.what: s for s in spans if s.who == who}


class Interlocked(ThreadDevice):
    """Each computation is held until the next layer's copy has begun.

    In a schedule without overlap that would never come.
    """

    def __init__(self) -> None:
        super().__init__(Timeline(limit=1000))
        self._begun = [threading.Event() for _ in range(LAYERS)]

    def copy(self, what: str, work: Callable[[], T]) -> Pending[T]:
        def told() -> T:
            self._begun[int(what.split()[1])].set()
            return work()

        return super().copy(what, told)

    def compute(self, what: str, work: Callable[[], T]) -> Pending[T]:
        def held() -> T:
            for following in self._begun[int(what.split()[1]) + 1 :][:1]:
                assert following.wait(PATIENCE), "the next layer's copy never began"
            return work()

        return super().compute(what, held)


def test_copies_overlap_with_the_computation_before() -> None:
    device = Interlocked()
    streamed = _streamed(device, _layers())
    for n in range(LAYERS):
        streamed.wait(streamed.submit(n, tokens(16), *routing(16)))
    device.close()
    spans = device.timeline.spans()
    copies, computes = _by_what(spans, "copy"), _by_what(spans, "compute")
    names = [f"layer {n} from 0" for n in range(LAYERS)]
    assert list(copies) == list(computes) == names
    for this, following in itertools.pairwise(names):
        assert copies[following].begin < computes[this].end
        assert computes[following].end > copies[following].end, "not before it is there"


@pytest.mark.parametrize("share", [1, 4])
def test_never_more_than_two_buffers_are_live(device: ThreadDevice, share: int) -> None:
    """A buffer lives from the moment its copy may write until its computation ends.

    A copy's span begins while it still waits for the buffer; it writes once the computation that
    used the buffer is over, so that is where its life begins.
    """
    streamed = _streamed(device, _layers(), LAYER_BYTES // share)
    for step in range(2):
        for n in range(LAYERS):
            streamed.wait(streamed.submit(n, tokens(16, seed=step), *routing(16, seed=n)))
        spans = device.timeline.spans()
    device.close()
    spans = device.timeline.spans()
    copies = [s for s in spans if s.who == "copy"]
    computes = [s for s in spans if s.who == "compute"]
    assert [s.what for s in copies] == [s.what for s in computes]
    assert len(copies) == 2 * LAYERS * share
    for n in range(BUFFERS, len(copies)):
        assert copies[n].end > computes[n - BUFFERS].end, "overwritten while it was read"
    begins = [
        max(c.begin, computes[n - BUFFERS].end if n >= BUFFERS else 0.0)
        for n, c in enumerate(copies)
    ]
    lives = list(zip(begins, (c.end for c in computes), strict=True))
    for moment, _ in lives:
        assert sum(begin <= moment < end for begin, end in lives) <= BUFFERS


def test_a_pass_that_ends_early_leaves_nothing_wrong_behind(device: ThreadDevice) -> None:
    layers = _layers()
    streamed, reference = _streamed(device, layers), _reference(layers)
    for upto in (2, 1, LAYERS, 3, LAYERS):
        for n in range(upto):
            call = n, tokens(9, seed=upto), *routing(9, seed=n)
            got = streamed.wait(streamed.submit(*call))
            assert torch.equal(got, reference.wait(reference.submit(*call)))


def test_abort_ends_a_layer_between_two_experts(device: ThreadDevice) -> None:
    layers = _layers()
    streamed, reference = _streamed(device, layers), _reference(layers)
    hold, held = threading.Event(), threading.Event()
    device.compute("hold", lambda: held.set() or hold.wait(PATIENCE))
    assert held.wait(PATIENCE)
    call = 0, tokens(9), *routing(9)
    ticket = streamed.submit(*call)
    assert not ticket.done
    streamed.abort()
    hold.set()
    with pytest.raises(Aborted):
        streamed.wait(ticket)
    assert torch.equal(
        streamed.wait(streamed.submit(*call)), reference.wait(reference.submit(*call))
    )


def test_a_lost_device_is_said(device: ThreadDevice) -> None:
    streamed = _streamed(device, _layers())
    device.close()
    with pytest.raises(ResourceError) as caught:
        streamed.wait(streamed.submit(0, tokens(9), *routing(9)))
    assert caught.value.code == "device_lost"


def test_a_buffer_must_hold_an_expert(device: ThreadDevice) -> None:
    size = sum(t.nbytes for t in tensors_of(expert_layer()[0]))
    with pytest.raises(ResourceError) as caught:
        _streamed(device, _layers(), size - 1).submit(0, tokens(9), *routing(9))
    assert caught.value.code == "budget_too_small"


class _Named(ReferenceExperts):
    """Remembers the lengths that it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def submit(self, layer, x, ids, weights):  # type: ignore[no-untyped-def]
        self.lengths.append(len(x))
        return super().submit(layer, x, ids, weights)


def test_only_prompts_from_the_crossover_on_are_streamed(device: ThreadDevice) -> None:
    layers, usual = _layers(), _Named()
    both = LongPrompts(usual, StreamedExperts(device, LAYER_BYTES), crossover=8)
    for n, experts in enumerate(layers):
        both.add_layer(n, experts)
    reference = _reference(layers)
    for count in (1, 7, 8, 30, 2):
        call = 0, tokens(count), *routing(count)
        assert torch.equal(both.wait(both.submit(*call)), reference.wait(reference.submit(*call)))
    assert usual.lengths == [1, 7, 2]
    assert both.wait(both.submit(0, tokens(0), *routing(0))).shape == (0, HIDDEN)
    assert len(layers[0]) == EXPERTS
    both.close()
