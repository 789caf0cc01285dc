"""The tree's promises under any order of sequences."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.cache.archive import PageArchive
from engine.cache.host_store import HostStore
from engine.cache.latent_pool import PAGE_TOKENS, LatentPool, PagedCache
from engine.cache.prefix_tree import PrefixTree
from engine.cache.snapshot import SnapshotFolder
from engine.errors import ResourceError
from tests.unit.engine.cache.trees import (
    LIMIT,
    ROOT,
    SHAPE,
    check,
    collect,
    compute,
    known,
    tree_of,
)

# Few first tokens and runs of the same token: prefixes meet and part inside pages and between them.
TOKENS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from((1, 5, 30, 63, 64, 65, 100))),
    min_size=1,
    max_size=4,
).map(lambda runs: [token for token, count in runs for _ in range(count)][: LIMIT - 40])


class Trees(RuleBasedStateMachine):
    """Sequences open, compute, draft, adopt and close; pages run out all the time."""

    pages = 9

    def __init__(self) -> None:
        super().__init__()
        self.tree = self.new_tree()
        self.open: list[tuple[PagedCache, list[int]]] = []

    def new_tree(self) -> PrefixTree:
        return tree_of(self.pages)

    def close_all(self) -> None:
        for cache, tokens in self.open:
            self.tree.close(cache, tokens)
        self.open.clear()

    @precondition(lambda self: len(self.open) < 4)
    @rule(tokens=TOKENS)
    def begin(self, tokens: list[int]) -> None:
        cache = self.tree.open(tokens, LIMIT)
        self.tree.restore(cache, tokens)
        assert cache.length < len(tokens)
        self.open.append((cache, tokens))

    def settled(self, data: st.DataObject) -> tuple[PagedCache, list[int]]:
        """One of the open sequences, which has all that it can get."""
        cache, tokens = data.draw(st.sampled_from(self.open))
        collect(self.tree, cache, tokens)
        return cache, tokens

    @precondition(lambda self: any(self.tree.restoring(cache) for cache, _ in self.open))
    @rule(data=st.data(), beside=st.booleans())
    def collect(self, data: st.DataObject, beside: bool) -> None:
        restoring = [each for each in self.open if self.tree.restoring(each[0])]
        cache, tokens = data.draw(st.sampled_from(restoring))
        before = cache.length
        self.tree.wait(0.01)
        self.tree.collect(cache, tokens, 0.0 if beside else None)
        assert before <= cache.length < len(tokens)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), count=st.integers(1, 130))
    def step(self, data: st.DataObject, count: int) -> None:
        cache, tokens = self.settled(data)
        end = min(len(tokens), cache.length + count)
        wanted = -(-end // PAGE_TOKENS) - len(cache.pages)
        room = self.tree.room
        try:
            compute(cache, tokens, end)
        except ResourceError as error:
            assert error.code == "cache_full"
            assert room < wanted
        else:
            assert wanted <= room

    @precondition(lambda self: self.open)
    @rule(data=st.data(), advance=st.booleans())
    def sample(self, data: st.DataObject, advance: bool) -> None:
        cache, tokens = self.settled(data)
        if cache.length == len(tokens) < LIMIT - 10:
            tokens.append(data.draw(st.integers(0, 2)))
        if advance:
            self.tree.advance(cache, tokens)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), drafts=st.integers(1, 9), kept=st.integers(0, 9))
    def draft(self, data: st.DataObject, drafts: int, kept: int) -> None:
        """Drafted tokens are computed and some of them are dropped again."""
        cache, tokens = self.settled(data)
        end = cache.length + drafts
        if end > LIMIT or -(-end // PAGE_TOKENS) - len(cache.pages) > self.tree.room:
            return
        begin = cache.length
        compute(cache, [*tokens[:begin], *[2] * drafts], end)
        cache.truncate(begin)
        check(cache, tokens)
        more = min(kept, len(tokens) - begin)
        compute(cache, tokens, begin + min(more, drafts))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def adopt(self, data: st.DataObject) -> None:
        cache, tokens = data.draw(st.sampled_from(self.open))
        before = cache.length
        if before < len(tokens):
            self.tree.rematch(cache, tokens)
        assert before <= cache.length <= max(before, len(tokens) - 1)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.open) - 1))
        cache, tokens = self.open.pop(at)
        length = cache.length
        self.tree.close(cache, tokens)
        # What was computed is there for whoever asks next.
        again = self.tree.open([*tokens[:length], 7], LIMIT)
        assert again.length == length or not self.tree.room
        self.tree.close(again, tokens)

    @rule()
    def forget(self) -> None:
        self.tree.clear()
        if not self.open:
            assert (self.tree.tokens, self.tree.pool.free) == (0, self.pages)

    @invariant()
    def holds(self) -> None:
        if self.tree.archive is not None:
            assert self.tree.archive.flush(60)  # or what is found would depend on time
        self.tree.check_integrity()
        for cache, tokens in self.open:
            check(cache, tokens)


class SpillingTrees(Trees):
    """The same with a store in memory that forgets, too."""

    def new_tree(self) -> PrefixTree:
        pool = LatentPool(SHAPE, self.pages, "float32")
        return PrefixTree(pool, PageArchive(pool, ROOT, HostStore(5 * pool.page_bytes + 1)))

    def teardown(self) -> None:
        self.tree.shut(0)


class StoringTrees(Trees):
    """The same with files, and restarts."""

    def __init__(self) -> None:
        self.folder = TemporaryDirectory()
        super().__init__()

    def new_tree(self) -> PrefixTree:
        pool = LatentPool(SHAPE, self.pages, "float32")
        disk = SnapshotFolder(Path(self.folder.name), ROOT, 12 * pool.page_bytes)
        return PrefixTree(pool, PageArchive(pool, ROOT, disk=disk))

    @rule(tokens=TOKENS)
    def restart(self, tokens: list[int]) -> None:
        self.close_all()
        self.begin(tokens)
        cache, _ = self.open[0]
        collect(self.tree, cache, tokens)
        if -(-len(tokens) // PAGE_TOKENS) <= self.pages:
            compute(cache, tokens, len(tokens))
        self.close_all()
        self.tree.shut(60)
        self.tree = self.new_tree()
        assert known(self.tree, [*tokens, 3]) == len(tokens), "the last used is on disk"

    def teardown(self) -> None:
        self.tree.shut(60)
        assert self.tree.archive is not None and self.tree.archive.use.error is None
        self.folder.cleanup()


def case(machine: type[Trees], examples: int) -> type[TestCase]:
    machine.TestCase.settings = settings(
        max_examples=examples, stateful_step_count=25, deadline=None
    )
    return machine.TestCase


TestTrees = case(Trees, 50)
TestSpillingTrees = case(SpillingTrees, 20)
TestStoringTrees = case(StoringTrees, 8)
