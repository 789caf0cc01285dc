"""The scheduler, the prefix tree and the engine around a model of arithmetic.

Whatever comes when, and however short pages are: each request ends once, and with the reply that
it would have had alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine.cache.latent_pool import PagedCache
from engine.cache.snapshot import SnapshotFolder
from engine.errors import QueueFull, ResourceError
from engine.scheduler.budget import Chunks
from engine.scheduler.scheduler import SchedulerLimits
from engine.text.tokenizer import Tokenizer
from engine.tiny import TinyShape, write_tiny
from engine.types import Ended

from .world import World, alone

LIMITS = SchedulerLimits(running=3, waiting=5, chunks=Chunks(most=96))
ENDS = frozenset({7})
_tokenizers: list[Tokenizer] = []


@pytest.fixture(autouse=True, scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = write_tiny(tmp_path_factory.mktemp("tiny") / "t", shape=TinyShape(layers=1))
    _tokenizers[:] = [Tokenizer.from_folder(folder)]
    return _tokenizers[0]


def prompt(family: int, length: int, branch: int = 0, shared: int = 0) -> list[int]:
    """Tokens of a family up to ``shared``, of a branch of it after that."""
    return [
        8 + (i * (3 + 2 * family) + (branch * 11 if i >= shared else 0)) % 40 for i in range(length)
    ]


class Forgetful:
    """Drafts the next tokens of the model, some of them wrong."""

    def draft(
        self, tokens: Sequence[int], most: int, beside: int = 0, cache: PagedCache | None = None
    ) -> list[int]:
        from .world import logits, states

        state, drafts = states(tokens)[-1], list[int]()
        for i in range(min(most, len(tokens) % 5)):
            token = int(logits(state).argmax())
            drafts.append(token if (len(tokens) + i) % 3 else (token + 1) % 40)
            state = states(drafts[-1:], state)[0]
        return drafts

    def observe(self, drafted: int, accepted: int, tokens: int, seconds: float) -> None:
        assert 0 <= accepted <= drafted < tokens
        assert seconds > 0


class Traffic(RuleBasedStateMachine):
    """Requests arrive, are stopped, run late, and steps are made, in any order."""

    world: World

    disk: SnapshotFolder | None = None

    @initialize(pages=st.integers(2, 24), drafts=st.booleans())
    def begin(self, pages: int, drafts: bool) -> None:
        drafter = Forgetful if drafts else None
        self.world = World(_tokenizers[0], pages, LIMITS, drafter, ends=ENDS, disk=self.disk)
        self.cut: set[str] = set()

    @rule(
        family=st.integers(0, 1),
        length=st.integers(1, 330),
        shared=st.integers(0, 300),
        branch=st.integers(0, 2),
        max_tokens=st.integers(1, 80),
        seed=st.none() | st.integers(0, 3),
        background=st.booleans(),
    )
    def arrive(
        self,
        family: int,
        length: int,
        shared: int,
        branch: int,
        max_tokens: int,
        seed: int | None,
        background: bool,
    ) -> None:
        full = len(self.world.scheduler.waiting) >= LIMITS.waiting
        try:
            self.world.ask(
                prompt(family, length, branch, shared),
                max_tokens,
                seed=seed,
                priority="background" if background else "interactive",
            )
        except QueueFull as error:
            assert full and error.retry_after >= 1
        except ResourceError as error:
            assert error.code == "cache_full"
            assert length > self.world.tree.capacity
        else:
            assert not full

    @rule(steps=st.integers(1, 12))
    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.world.step()

    @rule(pick=st.integers(0, 10))
    def abort(self, pick: int) -> None:
        busy = [name for name, asked in self.world.asked.items() if asked.end is None]
        if busy:
            name = busy[pick % len(busy)]
            assert self.world.engine.drop(name)
            self.cut.add(name)
            assert self.world.asked[name].code == "aborted"
            assert not self.world.engine.drop(name)

    @rule(pick=st.integers(0, 10))
    def run_late(self, pick: int) -> None:
        scheduler = self.world.scheduler
        everyone = [*scheduler.running, *scheduler.waiting]
        if everyone:
            late = everyone[pick % len(everyone)]
            late.request = dataclasses.replace(late.request, deadline=0.0)
            self.cut.add(late.request.id)
            self.world.step()
            assert self.world.asked[late.request.id].code == "deadline_exceeded"

    @invariant()
    def everything_holds(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.run()
        assert world.tree.room == world.tree.pool.pages, "nobody holds pages"
        for name, asked in world.asked.items():
            request = asked.request
            length = len(request.prompt.token_ids) + request.sampling.max_tokens
            limit = min(length, world.context, world.tree.capacity + 1)
            expected = alone(request, limit, ENDS)
            if isinstance(asked.end, Ended):
                assert asked.tokens == expected
                usage = asked.end.usage
                assert usage.completion_tokens == len(expected)
                assert usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens
            else:
                assert asked.tokens == expected[: len(asked.tokens)]
                assert name in self.cut


class StoredTraffic(Traffic):
    """The same with pages that come back from disk, whenever a thread has read them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.disk = SnapshotFolder(Path(self.folder.name), bytes(16), 1 << 20)

    @rule()
    def forget(self) -> None:
        """Of what nobody holds only the files stay."""
        tree = self.world.tree
        assert tree.archive is not None and tree.archive.flush(60)
        tree.clear()

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "world"):
            self.world.tree.shut(30)
        self.folder.cleanup()


def case(machine: type[Traffic], examples: int) -> type[TestCase]:
    machine.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    return machine.TestCase


TestTraffic = case(Traffic, 40)
TestStoredTraffic = case(StoredTraffic, 40)
