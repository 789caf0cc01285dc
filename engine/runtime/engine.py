"""The loaded engine: ``step`` is schedule, run, emit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from engine.cache.prefix_tree import PrefixTree, prompt_too_large
from engine.errors import Aborted, DeadlineExceeded, SelenographError
from engine.protocol import FinishReason, Progress
from engine.runtime.cancels import Cancels
from engine.runtime.metrics import Meter
from engine.runtime.reply import Reply
from engine.runtime.routes import RequestRoutes
from engine.runtime.runner import StepRunner
from engine.scheduler.scheduler import Scheduler, Work
from engine.scheduler.sequence import Sequence
from engine.speculation.base import NewDrafter
from engine.speculation.verify import verify
from engine.text.tokenizer import Tokenizer
from engine.types import Broke, Ended, Prefilling, Request, Started


@dataclass(frozen=True, slots=True)
class TextEnds:
    """What decodes and ends replies of the loaded model."""

    tokenizer: Tokenizer
    end_ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Done:
    """A step that was computed: logits [rows, V] of each item of work."""

    work: list[Work]
    logits: list[Tensor]
    seconds: float

    @property
    def tokens(self) -> int:
        """Everything that went through the model."""
        return sum(len(item.computes) for item in self.work)


_LAST_WRITES_S = 3.0
"""For pages that are not on disk yet when the model goes; most are written long before."""
_LULL_S = 0.01
"""While nobody computes and pages are read; orders may come meanwhile."""
_TELL_S = 0.05
_TELL_WITHIN_S = 0.5
_NOTHING = _Done([], [], 0.0)


class Engine:
    """One model and the sequences on it. Engine thread only."""

    def __init__(
        self,
        runner: StepRunner,
        text: TextEnds,
        context: int,
        scheduler: Scheduler,
        new_drafter: NewDrafter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock`` times steps, from which the scheduler learns what they cost."""
        self.scheduler = scheduler
        self.meter = Meter()
        self.cancels = Cancels()
        self.stats = runner.stats
        self.routes = RequestRoutes(self.stats) if self.stats is not None else None
        self._runner = runner
        self._text = text
        self._context = context
        self._new_drafter = new_drafter
        self._clock = clock
        self._replies: dict[str, Reply] = {}

    @property
    def tree(self) -> PrefixTree:
        """The pages of all sequences."""
        return self.scheduler.tree

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.scheduler.waiting or self.scheduler.running)

    def enqueue(self, request: Request) -> None:
        """Take a request. Raises QueueFull, ResourceError ``cache_full``."""
        prompt = len(request.prompt.token_ids)
        if prompt > self.tree.capacity:
            raise prompt_too_large(prompt, self.tree.capacity)
        length = prompt + request.sampling.max_tokens
        # The last token is not computed, so it needs no place in the cache.
        limit = min(self._context, length, self.tree.capacity + 1)
        new_drafter = self._new_drafter if request.speculate else None
        drafter = new_drafter() if new_drafter is not None else None
        self.scheduler.enqueue(Sequence(request, limit, drafter))

    def step(self) -> None:
        """Compute one token of every running reply and chunks of prompts."""
        self.cancels.steps += 1
        work = self._schedule()
        done = self._run(work)
        self._emit(done)

    def sequence(self, request_id: str) -> Sequence | None:
        """The sequence of a request, waiting or running. Any thread."""
        everyone = (*self.scheduler.running, *self.scheduler.waiting)
        return next((s for s in everyone if s.request.id == request_id), None)

    def running(self, request_id: str) -> bool:
        """Whether a request is being computed. Any thread."""
        return any(s.request.id == request_id for s in tuple(self.scheduler.running))

    def drop(self, request_id: str) -> bool:
        """Take a request out at once; its sink hears an abort. False if it is not here."""
        sequence = self.sequence(request_id)
        if sequence is not None:
            sequence.aborted = True
            self._drop_stopped()
        self.cancels.gone(request_id)
        return sequence is not None

    def abort_experts(self) -> None:
        """Wake a step that waits for routed experts. Any thread."""
        self._runner.abort()

    def fail_all(self, error: SelenographError) -> None:
        """End every request with an error, e.g. before the model is unloaded."""
        for sequence in (*self.scheduler.waiting, *self.scheduler.running):
            self._end(sequence, Broke(error))

    def close(self) -> None:
        """Free model and caches."""
        self.tree.shut(_LAST_WRITES_S)
        self._runner.close()

    # -- the three stations

    def _schedule(self) -> list[Work]:
        self._drop_stopped()
        plan = self.scheduler.schedule()
        for sequence in plan.admitted:
            reply = Reply(sequence, self._text.tokenizer, self._text.end_ids)
            self._replies[sequence.request.id] = reply
            sequence.request.sink(Started(sequence.prompt_tokens, sequence.cached))
        for sequence in plan.restored:
            self._tell(sequence, Progress(sequence.computed, sequence.prompt_tokens))
        return plan.work

    def _run(self, work: list[Work]) -> _Done:
        if not work:
            self.tree.wait(_LULL_S)
            return _NOTHING
        began = self._clock()
        try:
            logits = self._runner.run(work, lambda share: self._tell_within(work, share))
        except Aborted:
            # Whoever asked for it goes in the next step; the others lost nothing but the time.
            return _NOTHING
        if self.routes is not None:
            self.routes.add(work)
        return _Done(work, logits, self._clock() - began)

    def _emit(self, done: _Done) -> None:
        if not done.work:
            return
        self.scheduler.measured(done.work, done.seconds)
        written = 0
        for item, rows in zip(done.work, done.logits, strict=True):
            if item.samples:
                written += self._advance(item, rows, done)
            elif not item.sequence.completion_tokens:  # else it was preempted, and nobody knows
                item.sequence.told = time.monotonic()
                item.sequence.request.sink(Prefilling(self._progress(item.sequence)))
        self.scheduler.share(done.work)
        self.meter.count(done.work, written, done.seconds)

    # -- sequences

    def _advance(self, item: Work, rows: Tensor, done: _Done) -> int:
        """Sample from rows [1 + drafts, V] as far as the drafts are right: tokens written."""
        sequence, before = item.sequence, len(item.sequence.tokens)
        over = self._write(sequence, rows, item.drafts) if not sequence.aborted else None
        written = len(sequence.tokens) - before
        sequence.settle(len(item.drafts), written)
        if sequence.drafter is not None and not item.prompt and written:
            accepted = written - 1
            sequence.drafter.observe(len(item.drafts), accepted, done.tokens, done.seconds)
        if isinstance(over, SelenographError):
            self._end(sequence, Broke(over))
        elif over is not None:
            self._end(sequence, self._replies[sequence.request.id].ended(over))
        return written

    def _write(
        self, sequence: Sequence, rows: Tensor, drafts: tuple[int, ...]
    ) -> FinishReason | SelenographError | None:
        """Tokens from logits [1 + drafts, V]; what ended the reply, if it is over."""
        request, reply = sequence.request, self._replies[sequence.request.id]
        try:
            for sampled in verify(rows, drafts, reply.draw):
                wrote, reason = reply.add(sampled)
                if wrote is not None:
                    request.sink(wrote)
                if reason is not None or sequence.aborted:
                    return reason
        except SelenographError as error:
            return error
        return None

    def _drop_stopped(self) -> None:
        for sequence in (*self.scheduler.running, *self.scheduler.waiting):
            if sequence.aborted:
                self._end(sequence, Broke(Aborted()))
            elif sequence.late:
                request = sequence.request
                seconds = (request.deadline or 0.0) - request.created
                self._end(sequence, Broke(DeadlineExceeded(seconds)))

    def _end(self, sequence: Sequence, last: Ended | Broke) -> None:
        """Out of queue or running set; what was computed stays for the next prompt."""
        self.scheduler.remove(sequence)
        self.cancels.gone(sequence.request.id)
        self._replies.pop(sequence.request.id, None)
        self.meter.ended(last)
        sequence.request.sink(last)

    def _tell(self, sequence: Sequence, progress: Progress) -> None:
        """How far pages have come back, now and then."""
        now = time.monotonic()
        if now >= sequence.told + _TELL_S and not sequence.completion_tokens:
            sequence.told = now
            sequence.request.sink(Prefilling(progress))

    def _tell_within(self, work: list[Work], share: float) -> None:
        """Of a step that takes long: how far the prompts are of which it computes a part."""
        now = time.monotonic()
        for item in work:
            sequence = item.sequence
            quiet = max(sequence.told, sequence.scheduled) + _TELL_WITHIN_S
            if item.prompt and not sequence.completion_tokens and now >= quiet and share < 1:
                sequence.told = now
                done = int(share * len(item.computes))
                sequence.request.sink(Prefilling(self._progress(sequence, done)))

    def _progress(self, sequence: Sequence, begun: int = 0) -> Progress:
        """Seconds left: as the steps' costs grow with depth, at the pace that it had so far.
        ``begun``: tokens of a step under way that count as done.
        """
        cost, chunk = self.scheduler.cost, self.scheduler.limits.chunks.most
        total, computed = sequence.prompt_tokens, sequence.computed + begun
        spent = time.monotonic() - sequence.scheduled
        past, rest = (
            cost.prefill(sequence.cached, computed, chunk),
            cost.prefill(computed, total, chunk),
        )
        if not past:  # nothing was measured yet: every token as long as those before
            past, rest = computed - sequence.cached, total - computed
        return Progress(computed, total, rest * spent / past if past else None)
