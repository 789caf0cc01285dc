"""The second device beside the processor's expert pool: what is asked of one, and two that need
no accelerator.

A device has two queues, each in order: *compute* and *copy*. The scheduler of a mixture layer
speaks only to this seam, so that an accelerator and a thread run by the same code, and what is
proven with the thread holds for the order of work on the accelerator.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from engine.errors import ResourceError, SelenographError
from engine.experts.timeline import Timeline

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Pending(Protocol[T_co]):
    """Work that a device was given."""

    @property
    def done(self) -> bool:
        """Whether `wait` would return at once."""

    def value(self) -> T_co:
        """What it gave, for work that follows on the device; sleeps only if it must.

        Raises what the work raised, and ResourceError ``device_lost``.
        """

    def wait(self) -> T_co:
        """The same, once it is truly done."""


class Device(Protocol):
    """Where the part of a layer runs that does not wait for routed experts."""

    timeline: Timeline

    @property
    def name(self) -> str:
        """For status and traces."""

    @property
    def place(self) -> torch.device:
        """Where its tensors live."""

    def compute(self, what: str, work: Callable[[], T]) -> Pending[T]:
        """Queue work; it sees everything that was queued or computed before."""

    def copy(self, what: str, work: Callable[[], T]) -> Pending[T]:
        """Queue a transfer beside the compute queue; it sees what the caller computed before."""

    def settle(self) -> None:
        """Inside a copy: sleep until the transfers that it started have ended."""

    def host_bytes(self, count: int) -> Tensor:
        """uint8 [count] of host memory from which and to which the device copies fastest."""

    def static(self, work: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """The same function; may be recorded once per input shape and replayed."""

    def close(self) -> None:
        """Stop; what is still queued ends as ``device_lost``."""


def device_lost(name: str, why: str = "") -> ResourceError:
    """Of a device that no longer answers."""
    return ResourceError(
        "device_lost",
        f"the device {name} stopped answering{': ' + why if why else ''}",
        "load the model again; with the device set to cpu it runs without the accelerator",
        retryable=True,
    )


class Done(Generic[T]):
    """A `Pending` that was never pending."""

    __slots__ = ("_result",)

    def __init__(self, result: T) -> None:
        self._result = result

    @property
    def done(self) -> bool:
        return True

    def value(self) -> T:
        return self._result

    wait = value


class Inline:
    """No second device: work runs where it is asked for, at once."""

    def __init__(self, timeline: Timeline | None = None) -> None:
        self.timeline = timeline or Timeline()

    @property
    def name(self) -> str:
        return "cpu"

    @property
    def place(self) -> torch.device:
        return torch.device("cpu")

    def compute(self, what: str, work: Callable[[], T]) -> Pending[T]:
        return Done(work())

    def copy(self, what: str, work: Callable[[], T]) -> Pending[T]:
        return Done(work())

    def settle(self) -> None:
        """Nothing is ever under way."""

    def host_bytes(self, count: int) -> Tensor:
        return torch.empty(count, dtype=torch.uint8)

    def static(self, work: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return work

    def close(self) -> None:
        """Nothing to stop."""


class Job(Generic[T]):
    """Work in a `Worker`'s queue."""

    def __init__(self, what: str, work: Callable[[], T]) -> None:
        self.what = what
        self._work = work
        self._over = threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do it, keeping whatever it raises for the one who waits."""
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error
        del self._work  # what it holds, e.g. a buffer, is free again
        self._over.set()

    def fail(self, error: SelenographError) -> None:
        """End it undone."""
        self._error = error
        self._over.set()

    @property
    def done(self) -> bool:
        return self._over.is_set()

    def value(self) -> T:
        self._over.wait()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # run() has set it

    wait = value


class Worker:
    """A thread that does jobs in order, in inference mode, and records them as spans."""

    def __init__(self, name: str, timeline: Timeline) -> None:
        self.name = name
        self._timeline = timeline
        self._jobs: queue.SimpleQueue[Job[object] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name)
        self._thread.start()

    def submit(self, what: str, work: Callable[[], T]) -> Job[T]:
        """Queue a job. On a closed worker it ends as ``device_lost``."""
        job = Job(what, work)
        with self._lock:
            if self._closed:
                job.fail(device_lost(self.name))
            else:
                self._jobs.put(job)  # type: ignore[arg-type]  # Job[T] is a Job[object] to run
        return job

    def close(self) -> None:
        """End the thread after the job that runs; the queued ones end as ``device_lost``."""
        with self._lock:
            self._closed = True
            self._jobs.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    @torch.inference_mode()
    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._closed:
                job.fail(device_lost(self.name))
                continue
            with self._timeline.span(self.name, job.what):
                job.run()


class ThreadDevice:
    """Two threads as the compute and the copy queue of a device that shares the host's memory."""

    def __init__(self, timeline: Timeline | None = None) -> None:
        self.timeline = timeline or Timeline()
        self._compute = Worker("compute", self.timeline)
        self._copy = Worker("copy", self.timeline)

    @property
    def name(self) -> str:
        return "thread"

    @property
    def place(self) -> torch.device:
        return torch.device("cpu")

    def compute(self, what: str, work: Callable[[], T]) -> Pending[T]:
        return self._compute.submit(what, work)

    def copy(self, what: str, work: Callable[[], T]) -> Pending[T]:
        return self._copy.submit(what, work)

    def settle(self) -> None:
        """Copies of a thread are over when they return."""

    def host_bytes(self, count: int) -> Tensor:
        return torch.empty(count, dtype=torch.uint8)

    def static(self, work: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return work

    def close(self) -> None:
        self._compute.close()
        self._copy.close()
