"""The tree's promises under any order of sequences.

Every row that a sequence computes is a number that only the tokens before it determine, so that a
page in a wrong place is seen at once.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.cache.archive import PageArchive
from engine.cache.host_store import HostStore
from engine.cache.latent_pool import PAGE_TOKENS, LatentPool, PagedCache
from engine.cache.prefix_tree import KEPT_EVERY, PrefixTree
from engine.cache.snapshot import SnapshotFolder
from engine.errors import ResourceError
from tests.unit.engine.cache.configs import config

LAYERS = 2
SHAPE = config(layers=LAYERS, rank=2, rope=2)
LIMIT = 5 * PAGE_TOKENS
ROOT = bytes(16)


def tree_of(pages: int) -> PrefixTree:
    return PrefixTree(LatentPool(SHAPE, pages, "float32"))


def expected(tokens: Sequence[int], end: int) -> torch.Tensor:
    """Latents of the first `end` tokens [end, R+P]: a hash of everything up to each."""
    return _rows(tuple(tokens[:end]))


@lru_cache(1000)
def _rows(tokens: tuple[int, ...]) -> torch.Tensor:
    rows, state = [], 1
    for token in tokens:
        state = (state * 1_000_003 + token + 1) % 16_777_213  # exact as float32
        rows.append(state)
    return torch.tensor(rows, dtype=torch.float32)[:, None].expand(-1, 4)


def compute(cache: PagedCache, tokens: Sequence[int], end: int) -> None:
    """What the model does: the latents of all tokens up to `end` are in the cache."""
    begin = cache.length
    cache.reserve(end)
    for layer in range(LAYERS):
        cache.write(layer, begin, expected(tokens, end)[begin:] + layer)
    cache.length = end


def check(cache: PagedCache, tokens: Sequence[int]) -> None:
    for layer in range(LAYERS):
        got = cache.read(layer, 0, cache.length, torch.float32)
        assert torch.equal(got, expected(tokens, cache.length) + layer)


def collect(tree: PrefixTree, cache: PagedCache, tokens: Sequence[int]) -> None:
    """All that the archive has."""
    while tree.restoring(cache):
        tree.collect(cache, tokens)
        tree.wait(1)


def opened(tree: PrefixTree, tokens: list[int]) -> PagedCache:
    """With all that is in the pool and in the archive."""
    cache = tree.open(tokens, LIMIT)
    tree.restore(cache, tokens)
    collect(tree, cache, tokens)
    return cache


def run(tree: PrefixTree, tokens: list[int]) -> int:
    """A whole sequence: how many tokens had to be computed."""
    cache = opened(tree, tokens)
    fresh = len(tokens) - cache.length
    compute(cache, tokens, len(tokens))
    check(cache, tokens)
    tree.close(cache, tokens)
    tree.check_integrity()
    return fresh


def known(tree: PrefixTree, tokens: list[int]) -> int:
    """How many of them need not be computed."""
    cache = opened(tree, tokens)
    length = cache.length
    tree.close(cache, tokens)
    tree.check_integrity()
    return length


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


def test_nothing_is_computed_twice() -> None:
    tree = tree_of(40)
    first = [i % 90 for i in range(200)]
    assert run(tree, first) == 200
    assert run(tree, first) == 1, "the one whose logits are wanted"
    assert run(tree, [*first, 1, 2, 3]) == 3
    assert run(tree, [*first[:150], *[95] * 20]) == 20, "a branch inside a page"
    assert run(tree, [*first, 1, 2, 3, *[96] * 50]) == 50, "the other branch is still there"
    assert run(tree, first[:70]) == 1
    assert tree.tokens == 128 + 64 + 61 + (64 - 22 + 20 - 20), "shared pages are kept once"


def test_a_running_sequence_shares_its_full_pages() -> None:
    tree = tree_of(20)
    prefix = list(range(160))
    one = tree.open([*prefix, 1], LIMIT)
    two = tree.open([*prefix, 2], LIMIT)
    assert (one.length, two.length) == (0, 0)
    compute(one, [*prefix, 1], 161)
    tree.advance(one, [*prefix, 1])
    tree.rematch(two, [*prefix, 2])
    assert two.length == 128, "the third page is not full"
    assert one.pages[:2] == two.pages
    compute(two, [*prefix, 2], 161)
    tree.advance(two, [*prefix, 2])
    tree.close(one, [*prefix, 1])
    tree.check_integrity()
    check(two, [*prefix, 2])
    tree.close(two, [*prefix, 2])
    assert tree.tokens == 128 + 33 + 33


def test_equal_pages_are_kept_once() -> None:
    tree = tree_of(20)
    tokens = list(range(130))
    one, two = tree.open(tokens, LIMIT), tree.open(tokens, LIMIT)
    for cache in (one, two):
        compute(cache, tokens, 130)
    assert tree.pool.free == 20 - 6
    for cache in (one, two):
        tree.advance(cache, tokens)
        tree.check_integrity()
        check(cache, tokens)
    assert tree.pool.free == 20 - 4
    for cache in (one, two):
        tree.close(cache, tokens)
    assert tree.pool.free == 20 - 3


def test_the_longest_unused_goes_first_and_from_its_end() -> None:
    tree = tree_of(6)
    a, b = [1] * 192, [2] * 128
    assert (run(tree, a), run(tree, b)) == (192, 128)
    assert run(tree, a) == 1  # used again, and a copy of its last page was made and dropped
    assert run(tree, [3] * 128) == 128, "needs a page: the end of b goes"
    assert known(tree, [*b, 0]) == 64
    assert known(tree, [*a, 0]) == 192
    assert known(tree, [*a[:191], 0]) == 191, "the copy takes the page of the end of 3"
    assert known(tree, [*[3] * 128, 0]) == 64


def test_what_leaves_a_device_comes_back_from_memory() -> None:
    pool = LatentPool(SHAPE, 4, "float32")
    host = HostStore(8 * pool.page_bytes)
    tree = PrefixTree(pool, PageArchive(pool, ROOT, host))
    a, b = [1] * 150, [2] * 250
    assert (run(tree, a), run(tree, b)) == (150, 250)
    assert (tree.tokens, host.pages) == (250, 3), "b takes the whole pool"
    assert run(tree, a) == 1, "two full pages and 21 of the third"
    assert run(tree, [*a[:140], 5]) == 1
    assert host.bytes <= host.max_bytes
    tree.shut(0)


def test_of_a_sequence_that_never_ends_most_is_on_disk(tmp_path: Path) -> None:
    pages = 2 * KEPT_EVERY + 5
    pool = LatentPool(SHAPE, pages, "float32")
    tree = PrefixTree(pool, PageArchive(pool, ROOT, disk=SnapshotFolder(tmp_path, ROOT, 1 << 20)))
    assert tree.archive is not None
    tokens = [i % 61 for i in range(pages * PAGE_TOKENS)]
    cache = tree.open(tokens, len(tokens))
    for end in range(PAGE_TOKENS, len(tokens) + 1, PAGE_TOKENS):
        compute(cache, tokens, end)
        tree.advance(cache, tokens)
    assert tree.archive.flush(30)
    assert len(list(tmp_path.iterdir())) == 2 * KEPT_EVERY, "the sequence is still open"
    tree.close(cache, tokens)
    tree.shut(30)
    assert len(list(tmp_path.iterdir())) == pages


def test_who_asks_for_too_much_is_told_both_numbers() -> None:
    tree = tree_of(2)
    with pytest.raises(ResourceError, match=r"prompt has 129 tokens, the whole cache holds 128"):
        tree.open([0] * 129, LIMIT)
    cache, other = tree.open([0] * 128, LIMIT), tree.open([1], LIMIT)
    compute(cache, [0] * 128, 128)
    with pytest.raises(ResourceError, match="cache_full: all 2 pages") as caught:
        other.reserve(1)
    assert caught.value.retryable
    tree.close(cache, [0] * 128)
    assert tree.room == 2
    other.reserve(1)
    tree.close(other, [1])
    tree.check_integrity()


class Unread(list[int]):
    """Tokens of which the first may not be looked at."""

    def __init__(self, tokens: list[int], first: int) -> None:
        super().__init__(tokens)
        self._first = first

    def __getitem__(self, at: object) -> object:  # type: ignore[override]
        assert isinstance(at, slice) and at.start >= self._first
        return super().__getitem__(at)


def test_to_advance_costs_only_new_pages() -> None:
    tree = tree_of(1000)
    tokens = [i % 61 for i in range(60_000)]
    cache = tree.open(tokens, len(tokens))
    cache.reserve(60_000)
    cache.length = 59_000
    tree.advance(cache, tokens)
    assert cache.shared == 59_000 // PAGE_TOKENS
    cache.length = 60_000
    tree.advance(cache, Unread(tokens, 58_900))
    assert cache.shared == 60_000 // PAGE_TOKENS
    tree.close(cache, Unread(tokens, 59_900))
    tree.check_integrity()


def test_tokens_may_be_read_while_nodes_change() -> None:
    tree, over, wrong = tree_of(16), threading.Event(), list[int]()

    def read() -> None:
        while not over.is_set():
            tokens = tree.tokens
            if not 0 <= tokens <= tree.capacity:
                wrong.append(tokens)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for i in range(300):
            cache = tree.open([i] * 70, LIMIT)
            cache.reserve(70)
            cache.length = 70
            tree.close(cache, [i] * 70)
    finally:
        over.set()
        reader.join()
    assert wrong == []
    assert tree.tokens == 8 * 70
