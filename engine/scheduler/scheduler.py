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
    many tokens as for few: such chunks have up to ``streamed_chunk``. Decoding sequences and their
    drafts make up to ``few`` tokens a step.
    """

    chunk: int = 512
    running: int = 8
    waiting: int = 64
    stream_from: int = 0
    streamed_chunk: int = 8192
    few: int = 8

    def chunk_of(self, pending: int) -> int:
        """How many of a prompt's pending tokens the next step takes."""
        streamed = self.stream_from and pending >= self.stream_from
        return min(pending, self.streamed_chunk if streamed else self.chunk)


@dataclass(frozen=True, slots=True)
class Work:
    """``tokens`` of ``sequence`` to compute; its last gives logits if ``samples``.

    ``drafts`` are guesses of what follows, computed in the same step.
    """

    sequence: Sequence
    tokens: tuple[int, ...]
    samples: bool
    drafts: tuple[int, ...] = ()

    @property
    def computes(self) -> tuple[int, ...]:
        """All tokens that go through the model."""
        return self.tokens + self.drafts

    @property
    def rows(self) -> int:
        """Tokens whose logits are wanted."""
        return self.samples + len(self.drafts)


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
        decoding = sum(s.pending == 1 for s in self.running)
        spare = max(self.limits.few - decoding, 0)
        for sequence in self.running:
            pending = sequence.pending
            if pending == 1:
                beside = self.limits.few - spare - 1
                drafts = _drafts(sequence, -(-spare // decoding), beside)
                work.append(Work(sequence, (sequence.tokens[-1],), True, drafts))
                spare, decoding = spare - len(drafts), decoding - 1
            elif not prefilling:
                prefilling = True
                count = self.limits.chunk_of(pending)
                begin = sequence.computed
                tokens = tuple(sequence.tokens[begin : begin + count])
                work.append(Work(sequence, tokens, samples=count == pending))
        return work

    def finish(self, sequence: Sequence) -> None:
        """Take a sequence out of the running set."""
        self.running.remove(sequence)


def _drafts(sequence: Sequence, most: int, beside: int) -> tuple[int, ...]:
    """As many as may all be right without writing more than was asked for."""
    most = min(most, sequence.room - 1)
    if sequence.drafter is None or most <= 0:
        return ()
    return tuple(sequence.drafter.draft(sequence.tokens, most, beside)[:most])


def queue_full(waiting: int) -> ResourceError:
    """Of a queue that takes no more."""
    return ResourceError(
        "queue_full",
        f"{waiting} requests are waiting already",
        "try again in a moment",
        retryable=True,
    )
