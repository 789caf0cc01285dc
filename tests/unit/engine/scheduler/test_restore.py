"""Pages that come back from disk: who waits for them, and who does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.cache.latent_pool import PAGE_TOKENS
from engine.cache.snapshot import SnapshotFolder, StoredPage, chain_key
from engine.protocol import Usage
from engine.scheduler.scheduler import SchedulerLimits
from engine.text.tokenizer import Tokenizer
from engine.tiny import TinyShape, write_tiny
from engine.types import Ended, Prefilling, Started

from .world import Asked, World, alone

LONG = [8 + i * 7 % 40 for i in range(900)]
FULL = 899 // PAGE_TOKENS
SHORT = [9 + i * 3 % 40 for i in range(20)]


class SlowFolder(SnapshotFolder):
    """A disk that reads the first pages of the long prompt, as many as it may."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, bytes(16), 1 << 24)
        self.begun = 0
        self._may = 0
        self._changed = threading.Condition()
        self._place: dict[bytes, int] = {}
        key = self.root
        for i in range(FULL):
            key = chain_key(key, LONG[i * PAGE_TOKENS : (i + 1) * PAGE_TOKENS])
            self._place[key] = i

    def allow(self, pages: int = 1000) -> None:
        with self._changed:
            self._may = pages
            self._changed.notify_all()

    def read(self, page: StoredPage, into: memoryview) -> bool:
        with self._changed:
            self.begun += 1
            place = self._place.get(page.key, FULL)
            assert self._changed.wait_for(lambda: self._may > place, 60)
        return super().read(page, into)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tiny") / "t"
    return Tokenizer.from_folder(write_tiny(folder, shape=TinyShape(layers=1)))


@contextmanager
def stored(
    tokenizer: Tokenizer, folder: Path, **options: object
) -> Iterator[tuple[World, SlowFolder]]:
    """A new engine over a disk with the pages of a long prompt."""
    world = World(tokenizer, disk=SnapshotFolder(folder, bytes(16), 1 << 24))
    world.ask(LONG, 1)
    world.run()
    world.tree.shut(30)
    disk = SlowFolder(folder)
    world = World(tokenizer, disk=disk, **options)  # type: ignore[arg-type]
    try:
        yield world, disk
    finally:
        disk.allow()
        world.tree.shut(30)


def until(world: World, reached: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        world.step()


def usage(asked: Asked) -> Usage:
    assert isinstance(asked.end, Ended)
    assert asked.tokens == alone(asked.request)
    return asked.end.usage


def cached(asked: Asked) -> int:
    return usage(asked).prompt_tokens_details.cached_tokens


def test_running_replies_go_on_while_pages_come_back(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with stored(tokenizer, tmp_path) as (world, disk):
        reply = world.ask(SHORT, 500)
        until(world, lambda: len(reply.tokens) == 3)
        long = world.ask(LONG, 4)
        until(world, lambda: disk.begun > 0)
        began = len(reply.tokens)
        for _ in range(40):
            world.step()
        assert len(reply.tokens) == began + 40, "a token every step, though the disk is stuck"
        assert [type(e) for e in long.heard] == [Started], "it waits"
        sequence = world.engine.sequence(long.request.id)
        assert sequence is not None
        for pages in range(1, FULL + 1):
            disk.allow(pages)
            end = pages * PAGE_TOKENS
            until(world, lambda end=end: sequence.computed >= end)  # type: ignore[misc]
            assert sequence.computed == end
        assert disk.begun in (FULL, FULL + 1)
        disk.allow()
        until(world, lambda: long.end is not None)
        assert cached(long) == len(LONG) - 1, "the last page agrees in part"
        assert (
            sum(n for step in world.runner.steps for name, n in step if name == long.request.id)
            == 4
        )
        told = [e.progress for e in long.heard if isinstance(e, Prefilling)]
        assert told and all(0 < p.done < p.total == len(LONG) for p in told)
        world.run()
        usage(reply)


def test_who_has_the_same_beginning_waits_for_the_one_that_reads(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    with stored(tokenizer, tmp_path) as (world, disk):
        both = [world.ask([*LONG[:800], i, 9], 3) for i in (10, 11)]
        disk.allow()
        world.run()
        assert [cached(each) for each in both] == [800, 800]
        assert disk.begun <= 800 // PAGE_TOKENS + 2, "each page is read once"


@pytest.mark.parametrize("busy", [False, True])
def test_to_stop_while_pages_come_back_frees_them(
    tokenizer: Tokenizer, tmp_path: Path, busy: bool
) -> None:
    with stored(tokenizer, tmp_path) as (world, disk):
        reply = world.ask(SHORT, 500 if busy else 1)
        until(world, lambda: bool(reply.tokens))
        long = world.ask(LONG, 4)
        until(world, lambda: disk.begun > 0)
        disk.allow(3)
        sequence = world.engine.sequence(long.request.id)
        assert sequence is not None
        until(world, lambda: sequence.computed >= 3 * PAGE_TOKENS)
        sequence.aborted = True
        world.step()
        assert long.code == "aborted"
        held = world.tree.pool.pages - world.tree.room
        assert held == (world.engine.sequence(reply.request.id) is not None)
        again = world.ask(LONG, 2)
        disk.allow()
        until(world, lambda: again.end is not None)
        assert cached(again) == len(LONG) - 1


def test_a_damaged_page_in_the_middle_is_computed(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with stored(tokenizer, tmp_path) as (world, disk):
        disk.allow()
        files = {f.name.split("-")[0]: f for f in tmp_path.iterdir()}
        key = bytes(16).hex()
        for _ in range(6):
            sixth = files[key]
            key = sixth.name.split("-")[1]
        raw = bytearray(sixth.read_bytes())
        raw[-7] ^= 1
        sixth.write_bytes(raw)
        reply, long = world.ask(SHORT, 30), world.ask(LONG, 4)
        world.run()
        assert cached(long) == 5 * PAGE_TOKENS
        usage(reply)
        again = world.ask(LONG, 4)
        world.run()
        assert cached(again) == len(LONG) - 1


def test_preempted_while_pages_come_back(tokenizer: Tokenizer, tmp_path: Path) -> None:
    limits = SchedulerLimits(running=1)
    with stored(tokenizer, tmp_path, limits=limits) as (world, disk):
        long = world.ask(LONG, 4, priority="background")
        until(world, lambda: disk.begun > 0)
        disk.allow(2)
        urgent = world.ask(SHORT, 4)
        until(world, lambda: urgent.end is not None)
        assert world.scheduler.preemptions == 1
        disk.allow()
        world.run()
        assert cached(long) == len(LONG) - 1
        usage(urgent)
