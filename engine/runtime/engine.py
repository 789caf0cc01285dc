"""The loaded engine: ``step`` is schedule, run, emit."""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import Tensor

from engine.cache.latent_pool import page_count
from engine.cache.prefix_tree import PrefixTree
from engine.errors import Aborted, SelenographError
from engine.experts.observed import ObservedExperts
from engine.protocol import FinishReason, Progress
from engine.runtime.metrics import Meter
from engine.runtime.reply import Reply
from engine.runtime.routes import RequestRoutes
from engine.runtime.runner import Runner
from engine.sampling.sampler import Sampled, sample
from engine.scheduler.scheduler import Scheduler, Work
from engine.scheduler.sequence import Sequence
from engine.speculation.base import NewDrafter
from engine.speculation.verify import verify
from engine.text.tokenizer import Tokenizer
from engine.types import Broke, Prefilling, Request, Started


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


_NOTHING = _Done([], [], 0.0)


class Engine:
    """One model and the sequences on it. Engine thread only."""

    def __init__(
        self,
        runner: Runner,
        text: TextEnds,
        context: int,
        scheduler: Scheduler | None = None,
        new_drafter: NewDrafter | None = None,
        tree: PrefixTree | None = None,
    ) -> None:
        self.scheduler = scheduler or Scheduler()
        self.tree = tree or PrefixTree(runner.model.new_pool(8 * page_count(context)))
        self.meter = Meter()
        experts = runner.model.experts
        self.stats = experts.stats if isinstance(experts, ObservedExperts) else None
        """Counters of the routed experts, if there are any experts."""
        self.routes = RequestRoutes(self.stats) if self.stats is not None else None
        self._runner = runner
        self._text = text
        self._context = context
        self._new_drafter = new_drafter
        self._replies: dict[str, Reply] = {}

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.scheduler.waiting or self.scheduler.running)

    def step(self) -> None:
        """Compute one token of every running reply and one chunk of one prompt."""
        work = self._schedule()
        done = self._run(work)
        self._emit(done)

    def sequence(self, request_id: str) -> Sequence | None:
        """The running sequence of a request."""
        return next((s for s in self.scheduler.running if s.request.id == request_id), None)

    def drop(self, request_id: str) -> bool:
        """Take a request out at once; its sink hears an abort. False if it is not here."""
        for request in self.scheduler.waiting:
            if request.id == request_id:
                self.scheduler.waiting.remove(request)
                request.sink(Broke(Aborted()))
                return True
        sequence = self.sequence(request_id)
        if sequence is None:
            return False
        sequence.aborted = True
        self._drop_aborted()
        return True

    def abort_experts(self) -> None:
        """Wake a step that waits for routed experts. Any thread."""
        self._runner.model.experts.abort()

    def fail_all(self, error: SelenographError) -> None:
        """End every request with an error, e.g. before the model is unloaded."""
        for request in self.scheduler.waiting:
            request.sink(Broke(error))
        self.scheduler.waiting.clear()
        for sequence in list(self.scheduler.running):
            self._retire(sequence)
            sequence.request.sink(Broke(error))

    def close(self) -> None:
        """Free model and caches."""
        self.tree.clear()
        self._runner.model.close()

    # -- the three stations

    def _schedule(self) -> list[Work]:
        self._drop_aborted()
        while (request := self.scheduler.next_to_admit()) is not None:
            self._admit(request)
        return self.scheduler.schedule()

    def _run(self, work: list[Work]) -> _Done:
        if not work:
            return _NOTHING
        began = time.monotonic()
        try:
            logits = self._runner.run(work)
        except Aborted:
            # Whoever asked for it goes in the next step; the others lost nothing but the time.
            return _NOTHING
        if self.routes is not None:
            self.routes.add(work)
        return _Done(work, logits, time.monotonic() - began)

    def _emit(self, done: _Done) -> None:
        written = 0
        for item, rows in zip(done.work, done.logits, strict=True):
            if item.samples:
                written += self._advance(item, rows, done)
            else:
                item.sequence.request.sink(Prefilling(_progress(item.sequence)))
        for item in done.work:
            if item.sequence.request.id in self._replies:
                self.tree.advance(item.sequence.cache, item.sequence.tokens)
        if done.work:
            self.meter.count(done.work, written, done.seconds)

    # -- sequences

    def _admit(self, request: Request) -> None:
        tokens = list(request.prompt.token_ids)
        limit = min(
            self._context, len(tokens) + request.sampling.max_tokens, self.tree.capacity + 1
        )
        try:
            cache = self.tree.open(tokens, limit)
        except SelenographError as error:
            request.sink(Broke(error))
            return
        cached = cache.length
        drafts = self._new_drafter if request.speculate else None
        sequence = Sequence(request, cache, cached, limit, drafts and drafts())
        self.scheduler.running.append(sequence)
        self._replies[request.id] = Reply(sequence, self._text.tokenizer, self._text.end_ids)
        request.sink(Started(len(tokens), cached))

    def _advance(self, item: Work, rows: Tensor, done: _Done) -> int:
        """Sample from each of rows [1 + drafts, V] while the drafts are right: tokens written."""
        sequence, written = item.sequence, 0
        params, rng = sequence.request.sampling, sequence.rng
        bound = self._replies[sequence.request.id].within_budget
        over: FinishReason | SelenographError | None = None
        try:
            for sampled in verify(rows, item.drafts, lambda row: bound(sample(row, params, rng))):
                over = self._write(sequence, sampled)
                written += 1
                if over is not None or sequence.aborted:
                    break
        except SelenographError as error:
            over = error
        sequence.settle(len(item.drafts), written)
        if sequence.drafter is not None and len(item.tokens) == 1 and written:
            accepted = written - 1
            sequence.drafter.observe(len(item.drafts), accepted, done.tokens, done.seconds)
        if over is not None:
            reply = self._retire(sequence)
            end = Broke(over) if isinstance(over, SelenographError) else reply.ended(over)
            sequence.request.sink(end)
        return written

    def _write(self, sequence: Sequence, sampled: Sampled) -> FinishReason | None:
        """Send a token; what ends the reply with it, if anything does."""
        wrote, reason = self._replies[sequence.request.id].add(sampled)
        if wrote is not None:
            sequence.request.sink(wrote)
        return reason

    def _retire(self, sequence: Sequence) -> Reply:
        """Out of the running set; what was computed stays for the next prompt."""
        self.scheduler.finish(sequence)
        self.tree.close(sequence.cache, sequence.tokens)
        return self._replies.pop(sequence.request.id)

    def _drop_aborted(self) -> None:
        for sequence in [s for s in self.scheduler.running if s.aborted]:
            self._retire(sequence)
            sequence.request.sink(Broke(Aborted()))


def _progress(sequence: Sequence) -> Progress:
    done = sequence.computed - sequence.cached
    spent = time.monotonic() - sequence.scheduled
    left = spent / done * sequence.pending if done else None
    return Progress(sequence.computed, sequence.prompt_tokens, left)
