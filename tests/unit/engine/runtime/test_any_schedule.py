"""What is written does not depend on how it was computed.

Whatever comes together, in whatever chunks, from whichever pages, with drafts or without, preempted
or after a restart: greedy tokens in exact mode are those of a plain loop over the model. Sums in
another order differ in their last bits, so only prompts count whose replies leave no doubt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.cache.latent_pool import PagedCache
from engine.model.deepseek import Batch, Model
from engine.model.loader import load_model
from engine.protocol import Counters, LoadRequest, Priority, SnapshotOptions
from engine.runtime.caching import new_tree
from engine.runtime.engine import TextEnds
from engine.scheduler.budget import Chunks
from engine.scheduler.scheduler import SchedulerLimits
from engine.text.chat_template import Prompt
from engine.text.tokenizer import Tokenizer
from engine.tiny import TinyShape, write_tiny
from engine.types import Emission, Ended, Request, SamplingParams, Wrote

from .engines import engine_of

CONTEXT = 512
LENGTH = 20
CLEAR = 1e-3
"""Between the best token and the next; float32 sums differ by less than a hundredth of it."""


@dataclass(frozen=True)
class Ask:
    """One request of a schedule; ``at``: the step before which it comes."""

    prompt: int
    at: int
    priority: Priority


@dataclass
class Bench:
    folder: Path
    model: Model
    text: TextEnds
    prompts: list[list[int]]
    replies: list[list[int]]


class Recalling:
    """Drafts what a prompt is known to be answered with; every fifth token wrong."""

    def __init__(self, bench: Bench) -> None:
        self._known = list(zip(bench.prompts, bench.replies, strict=True))

    def draft(
        self, tokens: Sequence[int], most: int, beside: int = 0, cache: PagedCache | None = None
    ) -> list[int]:
        for prompt, reply in self._known:
            done = len(tokens) - len(prompt)
            if 0 <= done < LENGTH and list(tokens) == prompt + reply[:done]:
                return [t ^ ((done + i) % 5 == 4) for i, t in enumerate(reply[done : done + most])]
        return []

    def observe(self, drafted: int, accepted: int, tokens: int, seconds: float) -> None:
        """What was right last time is right again."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tiny") / "small"
    write_tiny(folder, seed=2, shape=TinyShape(layers=3, experts=8, context=CONTEXT))
    model = load_model(folder, torch.float32, "native", threads=1)
    known = [(ids, plain(model, ids)) for ids in candidates()]
    clear = [(ids, reply) for ids, reply in known if reply]
    assert len(clear) >= 8
    text = TextEnds(Tokenizer.from_folder(folder), frozenset())
    yield Bench(folder, model, text, [ids for ids, _ in clear], [reply for _, reply in clear])
    model.close()
    torch.set_num_threads(before)


def candidates() -> Iterator[list[int]]:
    """Three families of prompts with common beginnings, some of them repetitive."""
    for family in range(3):
        trunk = [(3 + i * (2 * family + 3)) % (40 if family == 1 else 250) for i in range(330)]
        for cut in (40, 64, 129, 200, 330):
            yield [*trunk[:cut], *range(50 + cut % 7, 50 + cut % 7 + family)]


def plain(model: Model, prompt: list[int]) -> list[int]:
    """The reply by a loop without engine; empty where some token was in doubt."""
    cache, fresh, reply = model.new_cache(CONTEXT), prompt, list[int]()
    while len(reply) < LENGTH:
        best = model.forward(Batch([(cache, fresh)]))[0].topk(2)
        if best.values[0] - best.values[1] < CLEAR:
            return []
        fresh = [int(best.indices[0])]
        reply += fresh
    return reply


asks = st.lists(
    st.builds(
        Ask,
        st.integers(0, 7),
        st.integers(0, 12),
        st.sampled_from(["interactive", "background"]),
    ),
    min_size=1,
    max_size=6,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rounds=st.lists(asks, min_size=1, max_size=2),
    pages=st.integers(6, 40),
    chunk=st.sampled_from([1, 7, 8, 9, 33, 100, 512]),
    running=st.integers(1, 4),
    drafts=st.booleans(),
    stored=st.booleans(),
)
def test_any_schedule_writes_the_same(
    bench: Bench,
    tmp_path_factory: pytest.TempPathFactory,
    rounds: list[list[Ask]],
    pages: int,
    chunk: int,
    running: int,
    drafts: bool,
    stored: bool,
) -> None:
    """Between rounds the engine is started anew, with the pages of the last on disk if stored."""
    folder = tmp_path_factory.mktemp("pages") if stored else None
    limits = SchedulerLimits(running=running, chunks=Chunks(most=chunk))
    for number, round_ in enumerate(rounds):
        run(bench, folder, round_, pages, limits, drafts, number)


def run(
    bench: Bench,
    folder: Path | None,
    round_: list[Ask],
    pages: int,
    limits: SchedulerLimits,
    drafts: bool,
    number: int,
) -> Counters:
    size = pages * bench.model.new_pool(1).page_bytes
    snapshots = SnapshotOptions(str(folder), 1 << 30) if folder is not None else None
    request = LoadRequest(str(bench.folder), cache_bytes=size, snapshots=snapshots)
    tree = new_tree(bench.model, request, bench.folder, CONTEXT)
    new_drafter = (lambda: Recalling(bench)) if drafts else None
    engine = engine_of(bench.model, bench.text, CONTEXT, new_drafter, tree, limits)
    heard: list[list[Emission]] = [[] for _ in round_]
    waiting = sorted(range(len(round_)), key=lambda i: round_[i].at)
    step = 0
    while engine.busy or waiting:
        while waiting and round_[waiting[0]].at <= step:
            i = waiting.pop(0)
            prompt = Prompt("", tuple(bench.prompts[round_[i].prompt]), False, 0)
            engine.enqueue(
                Request(
                    f"{number}.{i}",
                    prompt,
                    SamplingParams(0.0, max_tokens=LENGTH),
                    (),
                    heard[i].append,
                    return_tokens=True,
                    priority=round_[i].priority,
                )
            )
        engine.step()
        tree.check_integrity()
        step += 1
    for ask, emissions in zip(round_, heard, strict=True):
        assert isinstance(emissions[-1], Ended)
        tokens = [t.id for e in emissions if isinstance(e, Wrote) for t in e.tokens]
        assert tokens == bench.replies[ask.prompt]
    tree.shut(30)
    return engine.meter.counters(engine.scheduler.preemptions)


def test_a_schedule_with_everything(bench: Bench, tmp_path: Path) -> None:
    """One that is known to preempt, to share, to draft and to read pages from disk."""
    round_ = [Ask(i % 8, i, "background" if i % 3 else "interactive") for i in range(6)]
    limits = SchedulerLimits(running=3, chunks=Chunks(most=33))
    first, second = (run(bench, tmp_path, round_, 9, limits, True, n) for n in range(2))
    assert first.preemptions and second.preemptions
    assert first.accepted_drafts and first.rejected_drafts
    assert 0 < first.cached_tokens < second.cached_tokens, "the second found pages on disk"
