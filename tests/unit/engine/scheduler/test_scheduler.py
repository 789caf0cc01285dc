"""The scheduler's promises under any order of arrivals, steps and aborts.

The caches are real; a step is carried out as the model does it, by moving each cache's length to
the end of what was computed.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from engine.cache.latent_pool import LatentPool, PagedCache
from engine.config import ModelConfig
from engine.errors import ResourceError
from engine.scheduler.scheduler import Scheduler, SchedulerLimits, Work
from engine.scheduler.sequence import Sequence
from engine.text.chat_template import Prompt
from engine.types import Request, SamplingParams

CONTEXT = 64
LIMITS = SchedulerLimits(chunk=4, running=3, waiting=5)
CONFIG = ModelConfig.from_dict(
    {
        "model_type": "kimi_k2",
        "hidden_size": 8,
        "intermediate_size": 8,
        "moe_intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "kv_lora_rank": 2,
        "qk_nope_head_dim": 2,
        "qk_rope_head_dim": 2,
        "v_head_dim": 2,
        "n_routed_experts": 2,
        "num_experts_per_tok": 1,
        "vocab_size": 100,
        "max_position_embeddings": CONTEXT,
    }
)


def request(name: str, length: int) -> Request:
    prompt = Prompt("", tuple(i % 100 for i in range(length)), False, 0)
    return Request(name, prompt, SamplingParams(max_tokens=8), (), sink=lambda emission: None)


def sequence(asked: Request, cached: int = 0) -> Sequence:
    cache = PagedCache(LatentPool(CONFIG, 1, "float32"), CONTEXT)
    cache.reserve(cached)
    cache.length = cached
    limit = len(asked.prompt.token_ids) + asked.sampling.max_tokens
    return Sequence(asked, cache, cached, limit)


def compute(work: list[Work]) -> None:
    """What a forward pass does to the caches."""
    for item in work:
        cache = item.sequence.cache
        cache.reserve(cache.length + len(item.tokens))
        cache.length += len(item.tokens)


class Schedules(RuleBasedStateMachine):
    """Requests arrive, are admitted in turn, computed, and end or are stopped at any time."""

    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(LIMITS)
        self.expected: list[str] = []
        """Accepted and not yet admitted, in order."""
        self.count = 0

    @rule(target=names, length=st.integers(1, 20))
    def arrive(self, length: int) -> str:
        self.count += 1
        name = f"r{self.count}"
        full = len(self.scheduler.waiting) == LIMITS.waiting
        try:
            self.scheduler.enqueue(request(name, length))
        except ResourceError as error:
            assert full
            assert (error.code, error.retryable) == ("queue_full", True)
        else:
            assert not full
            self.expected.append(name)
        return name

    @rule(cached=st.integers(0, 19))
    def admit(self, cached: int) -> None:
        room = len(self.scheduler.running) < LIMITS.running
        asked = self.scheduler.next_to_admit()
        assert (asked is not None) == (room and bool(self.expected))
        if asked is not None:
            assert asked.id == self.expected.pop(0), "first come, first served"
            known = min(cached, len(asked.prompt.token_ids) - 1)
            self.scheduler.running.append(sequence(asked, known))

    @rule(end=st.booleans())
    def step(self, end: bool) -> None:
        before = {s.request.id: (s.computed, len(s.tokens)) for s in self.scheduler.running}
        work = self.scheduler.schedule()
        assert work == self.scheduler.schedule(), "scheduling changes nothing"
        self._check(work)
        compute(work)
        for item in work:
            s = item.sequence
            computed, length = before[s.request.id]
            assert s.computed == computed + len(item.tokens)
            assert item.samples == (s.computed == length)
            if item.samples:
                s.tokens.append(7)
                if end or s.completion_tokens >= s.request.sampling.max_tokens:
                    self.scheduler.finish(s)

    def _check(self, work: list[Work]) -> None:
        running = self.scheduler.running
        assert bool(work) == bool(running), "who runs is served, or nobody is there"
        assert len({id(w.sequence) for w in work}) == len(work)
        for item in work:
            s = item.sequence
            assert 1 <= len(item.tokens) <= LIMITS.chunk
            assert item.tokens == tuple(s.tokens[s.computed : s.computed + len(item.tokens)])
        prefilling = [s for s in running if s.pending > 1]
        served = [w.sequence for w in work]
        # Every decoding sequence, and of the prefilling ones the oldest alone.
        assert served == [s for s in running if s.pending == 1 or s in prefilling[:1]]

    @rule(name=names)
    def abort(self, name: str) -> None:
        for s in [s for s in self.scheduler.running if s.request.id == name]:
            s.aborted = True
            self.scheduler.finish(s)
        for asked in [r for r in self.scheduler.waiting if r.id == name]:
            self.scheduler.waiting.remove(asked)
            self.expected.remove(name)

    @invariant()
    def bounds_hold(self) -> None:
        assert len(self.scheduler.running) <= LIMITS.running
        assert len(self.scheduler.waiting) <= LIMITS.waiting
        assert [r.id for r in self.scheduler.waiting] == self.expected
        for s in self.scheduler.running:
            s.check()
            assert s.pending >= 1, "who has nothing to compute would never sample again"


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_everything_accepted_is_finished() -> None:
    scheduler = Scheduler(LIMITS)
    for i in range(LIMITS.waiting):
        scheduler.enqueue(request(f"r{i}", 5 + 7 * i))
    done: list[str] = []
    for _ in range(200):
        while (asked := scheduler.next_to_admit()) is not None:
            scheduler.running.append(sequence(asked))
        work = scheduler.schedule()
        compute(work)
        for item in work:
            if item.samples:
                item.sequence.tokens.append(1)
                if item.sequence.completion_tokens == 8:
                    scheduler.finish(item.sequence)
                    done.append(item.sequence.request.id)
    assert sorted(done) == [f"r{i}" for i in range(LIMITS.waiting)]
    assert not scheduler.running and not scheduler.waiting


def test_a_long_prompt_holds_up_a_reply_by_one_chunk_at_most() -> None:
    scheduler = Scheduler(LIMITS)
    writing, long = sequence(request("writing", 3), cached=2), sequence(request("long", 40))
    scheduler.running += [long, writing]
    for _ in range(6):
        work = scheduler.schedule()
        assert [len(w.tokens) for w in work] == [LIMITS.chunk, 1]
        compute(work)
        writing.tokens.append(1)


def test_the_invariant_of_a_sequence_is_asserted() -> None:
    short = sequence(request("short", 3))
    short.tokens += [1] * 9
    with pytest.raises(AssertionError):
        short.check()


def test_a_long_prompt_is_streamed_in_large_chunks_and_its_rest_in_small_ones() -> None:
    scheduler = Scheduler(SchedulerLimits(chunk=4, stream_from=10, streamed_chunk=16))
    scheduler.running.append(sequence(request("long", 45)))
    sizes = []
    while scheduler.running[0].pending:
        work = scheduler.schedule()
        sizes.append(len(work[0].tokens))
        compute(work)
    assert sizes == [16, 16, 13]
    scheduler.running[0] = sequence(request("short", 9))
    assert len(scheduler.schedule()[0].tokens) == 4
    scheduler.running[0] = sequence(request("rest", 41))
    compute(scheduler.schedule())
    compute(scheduler.schedule())
    assert [len(w.tokens) for w in scheduler.schedule()] == [4], "nine are left"
