"""Who computes what in the next step: every running reply one token, and prompts in chunks.

Interactive requests go before background ones; among equals the eldest is admitted first, and
prompts take turns chunk by chunk. When pages run out, the youngest of the least priority is
preempted: its pages stay in the tree as long as nobody needs them, and it queues again.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Sequence as Several
from dataclasses import dataclass, field

from engine.cache.latent_pool import PAGE_TOKENS, PagedCache, page_count
from engine.cache.prefix_tree import PrefixTree
from engine.errors import QueueFull
from engine.scheduler.budget import Chunks, Pace
from engine.scheduler.cost import Load, StepCost
from engine.scheduler.intervals import Intervals
from engine.scheduler.kinship import ahead_of, giver, meet, part
from engine.scheduler.sequence import Sequence

_RESTORING = 0.1
"""Share of the time that pages from the archive may take from those who compute meanwhile."""
_DRAFTED = 8
"""Tokens up to which a step that decodes is filled with drafts."""
_FRAGMENT = 16
"""What is left of a step's prompt tokens goes to another prompt only if it is so many."""


@dataclass(frozen=True, slots=True)
class SchedulerLimits:
    """Sequences at once, requests in the queue, sizes of chunks."""

    running: int = 8
    waiting: int = 64
    chunks: Chunks = field(default_factory=Chunks)


@dataclass(frozen=True, slots=True)
class Work:
    """``tokens`` of ``sequence`` to compute, after ``begin`` others; their last gives logits if
    ``samples``.

    ``drafts`` are guesses of what follows, computed in the same step.
    """

    sequence: Sequence
    begin: int
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

    @property
    def prompt(self) -> bool:
        """Whether this is a chunk of a prompt. One's last token alone is as good as a reply's."""
        return len(self.tokens) > 1 or not self.samples


@dataclass(slots=True)
class Plan:
    """A step, and before it: who was admitted for the first time, and who got pages from the
    archive."""

    work: list[Work] = field(default_factory=list)
    admitted: list[Sequence] = field(default_factory=list)
    restored: list[Sequence] = field(default_factory=list)


class Scheduler:
    """Queue and running set. Engine thread only."""

    def __init__(self, tree: PrefixTree, limits: SchedulerLimits | None = None) -> None:
        self.limits = limits or SchedulerLimits()
        self.cost = StepCost()
        self.waiting: list[Sequence] = []
        """By seniority, so that whoever was preempted is at the front of its class."""
        self.running: list[Sequence] = []
        """By seniority."""
        self.preemptions = 0
        self.tree = tree
        self._pace = Pace(self.cost)
        self._count = 0
        self._turns = 0
        self._refused: tuple[Sequence, int, int] | None = None
        self._intervals = Intervals()
        self._restored = time.monotonic()

    # -- coming and going

    def enqueue(self, sequence: Sequence) -> None:
        """Raises QueueFull."""
        if len(self.waiting) >= self.limits.waiting:
            raise self.queue_full(len(self.waiting))
        self._count += 1
        sequence.number = self._count
        bisect.insort(self.waiting, sequence, key=_seniority)

    def queue_full(self, waiting: int) -> QueueFull:
        """Of a queue that takes no more. Any thread."""
        return QueueFull(waiting, self._intervals.expected())

    def remove(self, sequence: Sequence) -> None:
        """Out of the queue or the running set; what was computed stays in the tree."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
            return
        self.running.remove(sequence)
        self._close(sequence)
        self._intervals.note(sequence.scheduled, time.monotonic())

    # -- a step

    def schedule(self) -> Plan:
        """Admit who fits, and plan a step in which everybody who can goes on."""
        plan = Plan()
        self._admit(plan)
        self._take_over()
        self._restore(plan)
        while self.running:
            self._decode(plan)
            self._prefill(plan)
            if plan.work or not self.running or any(map(self._restoring, self.running)):
                break
            self._preempt(self.running[-1])
        return plan

    def measured(self, work: Several[Work], seconds: float) -> None:
        """A step was computed: learn its cost, and whose turn is next."""
        load, prompt, decodes = Load(), 0, False
        for item in work:
            sequence, count = item.sequence, len(item.computes)
            if item.prompt:
                load = load.prefilling(count, item.begin)
                prompt += count
                self._turns = max(sequence.turns, self._turns)
                sequence.turns = self._turns + count
            else:
                load, decodes = load.decoding(count, item.begin), True
        self._pace.note(load, seconds, prompt, decodes)

    def share(self, work: Several[Work]) -> None:
        """The step's drafts were settled: let others have its full pages."""
        for sequence in (item.sequence for item in work):
            if sequence in self.running:
                self.tree.advance(sequence.cache, sequence.tokens)

    # -- admission

    def _admit(self, plan: Plan) -> None:
        while self.waiting:
            first = self.waiting[0]
            full = len(self.running) >= self.limits.running
            if full and not self._preempt_below(first.rank):
                return
            cache = self._open(first)
            if cache is None:
                return
            del self.waiting[0]
            if not first.scheduled:
                plan.admitted.append(first)
            first.turns = max(first.turns, self._turns)
            first.open(cache)
            meet(first, self.running)
            bisect.insort(self.running, first, key=_seniority)

    def _open(self, first: Sequence) -> PagedCache | None:
        """Pages for a sequence if all its tokens, and one page more for all who run, have room."""
        while (first, self.tree.room, len(self.running)) != self._refused:
            cache = self.tree.open(first.tokens, first.limit)
            needed = page_count(len(first.tokens)) - len(cache.pages)
            if needed + len(self.running) <= self.tree.room:
                return cache
            self.tree.close(cache, first.tokens)
            if not self._preempt_below(first.rank):
                self._refused = first, self.tree.room, len(self.running)
        return None

    def _take_over(self) -> None:
        """What another has computed meanwhile, for all who have the same tokens before them."""
        for sequence in self.running:
            while not self._restoring(sequence) and (other := giver(sequence)) is not None:
                before, shared = sequence.computed, sequence.kin[other]
                self.tree.rematch(sequence.cache, sequence.tokens)
                self.tree.copy_part(sequence.cache, other.cache, shared)
                sequence.adopted(before)
                sequence.sought = False
                part(sequence, other)

    def _restore(self, plan: Plan) -> None:
        """Pages from the archive, for all who wait for nobody; a few at a time beside others."""
        for sequence in self.running:
            if not sequence.sought and ahead_of(sequence) is None:
                sequence.sought = True
                self.tree.restore(sequence.cache, sequence.tokens)
        now, restoring = time.monotonic(), [s for s in self.running if self._restoring(s)]
        spare = _RESTORING * (now - self._restored) / max(len(restoring), 1)
        self._restored = now
        beside = any(not self._restoring(s) and ahead_of(s) is None for s in self.running)
        for sequence in restoring:
            before = sequence.computed
            self.tree.collect(sequence.cache, sequence.tokens, spare if beside else None)
            sequence.restored(before, all_of_it=not self._restoring(sequence))
            if sequence.computed > before:
                plan.restored.append(sequence)

    def _restoring(self, sequence: Sequence) -> bool:
        return self.tree.restoring(sequence.cache)

    # -- planning

    def _decode(self, plan: Plan) -> None:
        """A token, and drafts if there is room, of everybody whose prompt is done."""
        decoding = [s for s in self.running if s.pending == 1 and not self._restoring(s)]
        spare = max(_DRAFTED - len(decoding), 0)
        for left, sequence in zip(range(len(decoding), 0, -1), decoding, strict=True):
            while sequence in self.running and not self._room_for(plan, sequence):
                self._preempt(self.running[-1])
            if sequence not in self.running:
                continue
            most = min(-(-spare // left), self._room_for(plan, sequence) - 1)
            beside = sum(len(item.computes) for item in plan.work) + left - 1
            drafts = _drafts(sequence, most, beside)
            spare -= len(drafts)
            token = (sequence.tokens[-1],)
            plan.work.append(Work(sequence, sequence.computed, token, True, drafts))

    def _prefill(self, plan: Plan) -> None:
        """Chunks of prompts in turn; beside running replies one, as large as these bear."""
        chunks, decoding = self.limits.chunks, bool(plan.work)
        load = Load()
        for item in plan.work:
            load = load.decoding(len(item.computes), item.begin)
        left = 0
        for sequence in self._prompts():
            if sequence not in self.running:
                continue  # preempted by one before it
            most = chunks.of(sequence.pending, sequence.computed)
            if decoding:
                most = self._pace.chunk(load, sequence.computed, most)
            elif plan.work:
                most = min(most, left)
            else:
                left = max(chunks.most, most)
            if most and self._chunk(plan, sequence, most):
                left -= len(plan.work[-1].tokens)
                if decoding or left < _FRAGMENT:
                    return

    def _prompts(self) -> list[Sequence]:
        """Who has a prompt to compute that nobody else computes, the next in turn first."""
        pending = [s for s in self.running if s.pending > 1 and not self._restoring(s)]
        prompts = [s for s in pending if ahead_of(s) is None]
        return sorted(prompts, key=lambda s: (s.rank, s.turns, s.number))

    def _chunk(self, plan: Plan, sequence: Sequence, most: int) -> bool:
        """Plan up to ``most`` tokens of a prompt, as pages allow."""
        while not (room := self._room_for(plan, sequence)):
            if not self._preempt_below(sequence.rank, plan):
                return False
        count, begin = min(most, room), sequence.computed
        tokens = tuple(sequence.tokens[begin : begin + count])
        plan.work.append(Work(sequence, begin, tokens, samples=count == sequence.pending))
        return True

    def _room_for(self, plan: Plan, sequence: Sequence) -> int:
        """Tokens of a sequence that the pages left by what is planned can take."""
        promised = sum(
            max(page_count(item.begin + len(item.computes)) - len(item.sequence.cache.pages), 0)
            for item in plan.work
        )
        pages = len(sequence.cache.pages) + max(self.tree.room - promised, 0)
        return max(pages * PAGE_TOKENS - sequence.computed, 0)

    # -- preemption

    def _preempt_below(self, rank: int, plan: Plan | None = None) -> bool:
        """Preempt somebody of less priority than ``rank``, also if it is planned already."""
        if not self.running or self.running[-1].rank <= rank:
            return False
        victim = self.running[-1]
        if plan is not None:
            plan.work[:] = [item for item in plan.work if item.sequence is not victim]
        self._preempt(victim)
        return True

    def _preempt(self, victim: Sequence) -> None:
        self.running.remove(victim)
        self._close(victim)
        bisect.insort(self.waiting, victim, key=_seniority)
        self.preemptions += 1

    def _close(self, sequence: Sequence) -> None:
        """Give up its pages; who waited for it goes on from what it leaves."""
        behind = [kin for kin, shared in sequence.kin.items() if kin.computed < shared]
        self.tree.close(sequence.close(), sequence.tokens)
        for kin in behind:
            if not self._restoring(kin):
                before = kin.computed
                self.tree.rematch(kin.cache, kin.tokens)
                kin.adopted(before)


def _drafts(sequence: Sequence, most: int, beside: int) -> tuple[int, ...]:
    """As many as may all be right without writing more than was asked for."""
    most = min(most, sequence.room - 1)
    if sequence.drafter is None or most <= 0:
        return ()
    return tuple(sequence.drafter.draft(sequence.tokens, most, beside, sequence.cache)[:most])


def _seniority(sequence: Sequence) -> tuple[int, int]:
    return sequence.seniority
