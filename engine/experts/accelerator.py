"""CUDA, ROCm, XPU and MPS through ``torch.accelerator``, as a `Device`.

Compute goes to the current stream of the calling thread, which returns at once. Copies run on a
thread of their own with a stream of their own where the accelerator has several; the thread is
there because a transfer out of a mapped file begins with a read that blocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

from engine.errors import ResourceError
from engine.experts.device import Pending, Worker, device_lost
from engine.experts.timeline import Span, Timeline

T = TypeVar("T")


def find_accelerator() -> torch.device | None:
    """The accelerator that torch would take, if there is one."""
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


class _Queued(Generic[T]):
    """Work on a stream: usable in stream order at once, done when its event is."""

    def __init__(self, device: AcceleratorDevice, result: T, event: torch.Event) -> None:
        self._device, self._result, self._event = device, result, event

    @property
    def done(self) -> bool:
        return self._event.query()

    def value(self) -> T:
        stream = torch.accelerator.current_stream()
        self._event.wait(stream)
        if isinstance(self._result, Tensor) and self._device.has_streams:
            # Else its memory could be given to the next transfer while this stream still reads.
            self._result.record_stream(stream)
        return self._result

    def wait(self) -> T:
        self._device.guard(self._event.synchronize)
        return self._result


class _Copied(Generic[T]):
    """A transfer: first its thread starts it, then its stream does it."""

    def __init__(self, started: Pending[_Queued[T]]) -> None:
        self._started = started

    @property
    def done(self) -> bool:
        return self._started.done and self._started.value().done

    def value(self) -> T:
        return self._started.value().value()

    def wait(self) -> T:
        return self._started.value().wait()


class AcceleratorDevice:
    """Implements :class:`engine.experts.device.Device`."""

    def __init__(self, place: torch.device, timeline: Timeline | None = None) -> None:
        self.timeline = timeline or Timeline()
        self._place = place
        # Metal has one queue per process; there a copy waits its turn behind the computation.
        self.has_streams = place.type in ("cuda", "xpu")
        current = torch.accelerator.current_stream()
        self._stream = torch.Stream(place) if self.has_streams else current
        self._copies = Worker("copy", self.timeline)
        self._timed: list[tuple[str, torch.Event, torch.Event]] = []
        self._zero = self._origin() if self.timeline.on else None

    @property
    def name(self) -> str:
        return str(self._place)

    @property
    def place(self) -> torch.device:
        return self._place

    def compute(self, what: str, work: Callable[[], T]) -> Pending[T]:
        begin = self._event() if self.timeline.on else None
        result = self.guard(work)
        end = self._event()
        if begin is not None:
            self._timed.append((what, begin, end))
        return _Queued(self, result, end)

    def copy(self, what: str, work: Callable[[], T]) -> Pending[T]:
        before = self._event()

        def transfer() -> _Queued[T]:
            torch.accelerator.set_stream(self._stream)
            before.wait(self._stream)
            result = self.guard(work)
            return _Queued(self, result, self._event())

        return _Copied(self._copies.submit(what, transfer))

    def settle(self) -> None:
        self.guard(self._event().synchronize)

    def host_bytes(self, count: int) -> Tensor:
        return torch.empty(count, dtype=torch.uint8, pin_memory=True)

    def static(self, work: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return _Recorded(work) if self._place.type == "cuda" else work

    def close(self) -> None:
        self._copies.close()

    def guard(self, work: Callable[[], T]) -> T:
        """Run it; what the driver reports becomes ``device_lost``, lack of memory stays itself."""
        try:
            return work()
        except torch.OutOfMemoryError as error:
            raise ResourceError(
                "device_memory",
                f"{self.name} has not enough memory",
                "give fewer experts to it, or a smaller context",
            ) from error
        except torch.AcceleratorError as error:
            raise device_lost(self.name, str(error).partition("\n")[0]) from error

    def resolve_spans(self) -> None:
        """Put the computations timed so far on the timeline, in host time."""
        timed, self._timed = self._timed, []
        if self._zero is None:
            return
        event, at = self._zero
        for what, begin, end in timed:
            end.synchronize()
            first = at + event.elapsed_time(begin) / 1e3
            self.timeline.add(Span("compute", what, first, at + event.elapsed_time(end) / 1e3))

    def _event(self) -> torch.Event:
        """The end of what the calling thread's stream has been given."""
        # Who waits should sleep and leave the cores to the experts. Torch takes the wish and so
        # far leaves it to the driver.
        event = torch.Event(self._place, enable_timing=self.timeline.on, blocking=True)
        event.record(torch.accelerator.current_stream())
        return event

    def _origin(self) -> tuple[torch.Event, float]:
        """One moment in both clocks."""
        event = self._event()
        event.synchronize()
        return event, time.perf_counter()


class _Recorded:
    """A CUDA graph per input shape. Its result lives until the next call of the same shape."""

    def __init__(self, work: Callable[[Tensor], Tensor]) -> None:
        self._work = work
        self._graphs: dict[tuple[int, ...], tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        # Long prompts differ in length and gain nothing; a decode step has few shapes.
        if x.shape[0] > 8:
            return self._work(x)
        known = self._graphs.get(tuple(x.shape))
        if known is None:
            known = self._graphs[tuple(x.shape)] = self._record(x)
        graph, given, result = known
        given.copy_(x)
        graph.replay()
        return result

    def _record(self, x: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        given = x.clone()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries allocate on first use, which cannot be recorded
            self._work(given)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = self._work(given)
        return graph, given, result
