"""What the tree shares, keeps, throws out and costs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from engine.cache.archive import PageArchive
from engine.cache.host_store import HostStore
from engine.cache.latent_pool import PAGE_TOKENS, LatentPool
from engine.cache.prefix_tree import KEPT_EVERY, PrefixTree
from engine.cache.snapshot import SnapshotFolder
from engine.errors import ResourceError
from tests.unit.engine.cache.trees import (
    LIMIT,
    ROOT,
    SHAPE,
    check,
    compute,
    known,
    run,
    tree_of,
)


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
