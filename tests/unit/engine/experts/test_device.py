"""The thread device: order within a queue, none between the two, errors, loss, close."""

from __future__ import annotations

import threading

import pytest
import torch

from engine.errors import RequestError, ResourceError
from engine.experts.device import Device, Inline, ThreadDevice
from engine.experts.timeline import Span, Timeline

PATIENCE = 30.0


@pytest.fixture(params=["inline", "thread"])
def device(request: pytest.FixtureRequest):
    device: Device = Inline() if request.param == "inline" else ThreadDevice()
    yield device
    device.close()


def test_results_and_order(device: Device) -> None:
    done: list[int] = []
    pending = [device.compute(f"job {n}", lambda n=n: done.append(n) or n * n) for n in range(20)]
    assert [p.value() for p in pending] == [n * n for n in range(20)]
    assert done == list(range(20))


def test_what_work_raises_is_raised_to_who_asks() -> None:
    device = ThreadDevice()

    def work() -> None:
        raise RequestError("bad", "no")

    with pytest.raises(RequestError, match="no"):
        device.copy("bad", work).value()
    assert device.copy("good", lambda: 3).value() == 3, "one bad job ends no queue"
    device.close()


def test_the_two_queues_run_side_by_side() -> None:
    device = ThreadDevice(Timeline(limit=8))
    meet = threading.Barrier(2)
    # Each side waits for the other: in one queue, or one after the other, this would never end.
    pending = [
        device.compute("a", lambda: meet.wait(PATIENCE)),
        device.copy("b", lambda: meet.wait(PATIENCE)),
    ]
    assert sorted(p.value() for p in pending) == [0, 1]
    device.close()
    compute, copy = sorted(device.timeline.spans(), key=lambda s: s.what)
    assert (compute.who, copy.who) == ("compute", "copy")
    assert compute.overlaps(copy)


def test_a_device_closed_in_mid_run_is_lost() -> None:
    device = ThreadDevice()
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> int:
        begun.set()
        assert go_on.wait(PATIENCE)
        return 1

    running = device.compute("slow", slow)
    queued = device.compute("next", lambda: 2)
    assert begun.wait(PATIENCE)
    closing = threading.Thread(target=device.close)
    closing.start()
    while device.compute("late", lambda: None)._error is None:  # until the close has begun
        pass
    go_on.set()
    closing.join()
    assert running.value() == 1
    for pending in (queued, device.compute("after", lambda: 3)):
        with pytest.raises(ResourceError) as caught:
            pending.value()
        assert caught.value.code == "device_lost"
        assert "cpu" in caught.value.hint


def test_work_runs_in_inference_mode() -> None:
    device = ThreadDevice()
    weight = torch.ones(2, 2, requires_grad=True)
    assert not device.compute("grad", lambda: weight @ weight).value().requires_grad
    device.close()


def test_a_timeline_keeps_the_last_spans_only() -> None:
    timeline = Timeline(limit=2)
    for n in range(4):
        timeline.add(Span("who", str(n), n, n + 1))
    assert [s.what for s in timeline.spans()] == ["2", "3"]
    assert not timeline.spans()[0].overlaps(timeline.spans()[1]), "touching is not overlapping"
    off = Timeline()
    off.add(Span("who", "x", 0, 1))
    assert off.spans() == []
