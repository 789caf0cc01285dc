"""Who computes what in the next step: every running reply one token, and one prompt a chunk.

First come, first served. A long prompt is cut into chunks so that it never holds up a running
reply by more than one of them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from engine.errors import ResourceError
from engine.scheduler.sequence import Sequence
from engine.types import Request


@dataclass(frozen=True, slots=True)
class SchedulerLimits:
    """``chunk`` tokens of prompt a step, sequences at once, requests in the queue.

    From ``stream_from`` tokens on (0: never) experts stream to the device, which takes as long for
    many tokens as for few: such chunks have up to ``streamed_chunk``.
    """

    chunk: int = 512
    running: int = 8
    waiting: int = 64
    stream_from: int = 0
    streamed_chunk: int = 8192

    def chunk_of(self, pending: int) -> int:
        """How many of a prompt's pending tokens the next step takes."""
        streamed = self.stream_from and pending >= self.stream_from
        return min(pending, self.streamed_chunk if streamed else self.chunk)


@dataclass(frozen=True, slots=True)
class Work:
    """``tokens`` of ``sequence`` to compute; its last gives logits if ``samples``."""

    sequence: Sequence
    tokens: tuple[int, ...]
    samples: bool


class Scheduler:
    """Queue and running set. Engine thread only."""

    def __init__(self, limits: SchedulerLimits | None = None) -> None:
        self.limits = limits or SchedulerLimits()
        self.waiting: deque[Request] = deque()
        self.running: list[Sequence] = []

    def enqueue(self, request: Request) -> None:
        """Raises ResourceError ``queue_full``."""
        if len(self.waiting) >= self.limits.waiting:
            raise queue_full(len(self.waiting))
        self.waiting.append(request)

    def next_to_admit(self) -> Request | None:
        """The request whose turn it is, if there is room for it; it leaves the queue."""
        if self.waiting and len(self.running) < self.limits.running:
            return self.waiting.popleft()
        return None

    def schedule(self) -> list[Work]:
        """One token of each decoding sequence and one chunk of the oldest prefilling one."""
        work: list[Work] = []
        prefilling = False
        for sequence in self.running:
            pending = sequence.pending
            if pending > 1 and prefilling:
                continue
            count = self.limits.chunk_of(pending)
            prefilling = prefilling or pending > 1
            begin = sequence.computed
            tokens = tuple(sequence.tokens[begin : begin + count])
            work.append(Work(sequence, tokens, samples=count == pending))
        return work

    def finish(self, sequence: Sequence) -> None:
        """Take a sequence out of the running set."""
        self.running.remove(sequence)


def queue_full(waiting: int) -> ResourceError:
    """Of a queue that takes no more."""
    return ResourceError(
        "queue_full",
        f"{waiting} requests are waiting already",
        "try again in a moment",
        retryable=True,
    )
