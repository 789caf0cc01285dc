"""Pages on disk: what comes back is what was written, or nothing."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cache import snapshot
from engine.cache.fingerprint import fingerprint
from engine.cache.latent_pool import LatentPool
from engine.cache.snapshot import FILE_OVERHEAD, SnapshotFolder, StoredPage, chain_key
from engine.cache.writer import SnapshotWriter
from engine.tiny import write_tiny
from tests.unit.engine.cache.configs import config

ROOT = bytes(range(16))
SIZE = 1000


def page(*tokens: int, parent: bytes = ROOT) -> StoredPage:
    return StoredPage(parent, chain_key(parent, tokens), tokens)


def data(seed: int = 0) -> memoryview:
    return np.random.default_rng(seed).integers(0, 256, SIZE, np.uint8).data


def folder(path: Path, root: bytes = ROOT, max_bytes: int = 1 << 20) -> SnapshotFolder:
    found = SnapshotFolder(path, root, max_bytes)
    found.scan()
    return found


def read(stored: SnapshotFolder, wanted: StoredPage) -> bytes | None:
    into = bytearray(SIZE)
    return bytes(into) if stored.read(wanted, memoryview(into)) else None


def only_file(path: Path) -> Path:
    (file,) = path.iterdir()
    return file


def test_what_is_written_is_found_by_whoever_has_the_tokens(tmp_path: Path) -> None:
    first, then, part = page(*range(64)), page(7, 8), page(7)
    then = page(7, 8, parent=first.key)
    written = folder(tmp_path)
    for i, each in enumerate((first, then)):
        written.write(each, data(i))
    again = folder(tmp_path)
    assert again.has(first.key) and again.has(then.key) and not again.has(part.key)
    assert read(again, first) == bytes(data(0))
    assert again.after(ROOT) == [first]
    assert again.after(first.key) == [then]
    assert read(again, then) == bytes(data(1))
    assert (again.pages, again.bytes) == (2, sum(f.stat().st_size for f in tmp_path.iterdir()))
    assert {f.stat().st_mode & 0o777 for f in tmp_path.iterdir()} == {0o600}


def test_a_longer_page_takes_the_place_of_those_it_continues(tmp_path: Path) -> None:
    stored = folder(tmp_path)
    for tokens in ((1, 2), (1, 3), (1, 2, 3)):
        stored.write(page(*tokens), data())
    assert {p.tokens for p in stored.after(ROOT)} == {(1, 3), (1, 2, 3)}
    assert len(list(tmp_path.iterdir())) == 2


@settings(max_examples=150, deadline=None)
@given(
    at=st.integers(0, 400) | st.integers(0, 10_000),
    how=st.sampled_from(("flip", "cut", "longer", "zeros")),
    bit=st.integers(0, 7),
)
def test_a_damaged_file_is_deleted(at: int, how: str, bit: int) -> None:
    with TemporaryDirectory() as name:
        path = Path(name)
        wanted = page(*range(1000, 1064))
        folder(path).write(wanted, data())
        file = only_file(path)
        raw = bytearray(file.read_bytes())
        at %= len(raw)
        if how == "flip":
            raw[at] ^= 1 << bit
        elif how == "cut":
            del raw[at:]
        elif how == "longer":
            raw += bytes(at + 1)
        else:  # as after a loss of power
            raw[at:] = bytes([1]) + bytes(len(raw) - at - 1) if at else bytes(len(raw))
        changed = bytes(raw) != file.read_bytes()
        file.write_bytes(raw)
        stored = folder(path)
        stored.after(ROOT)  # reads tokens, whatever is there
        assert read(stored, wanted) == (None if changed else bytes(data()))
        assert stored.has(wanted.key) is not changed
        assert file.exists() is not changed
        assert (stored.pages, stored.bytes) == ((0, 0) if changed else (1, len(raw)))


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    wanted, other = page(1, 2, 3), bytes(16)
    folder(tmp_path).write(wanted, data())
    (tmp_path / "letter.txt").write_text("mine")
    (tmp_path / f"{'0' * 32}-{'1' * 32}-0.page").write_text("no page has 0 tokens")
    (tmp_path / f"{'0' * 32}-{'1' * 32}-5.page").mkdir()
    foreign = folder(tmp_path, other)
    mine = page(1, 2, 3, parent=other)
    assert not foreign.has(mine.key)
    assert foreign.after(other) == []
    # The same page under the name that ours would have: somebody renamed it.
    renamed = tmp_path / f"{mine.parent.hex()}-{mine.key.hex()}-3.page"
    renamed.write_bytes((tmp_path / f"{ROOT.hex()}-{wanted.key.hex()}-3.page").read_bytes())
    foreign = folder(tmp_path, other)
    assert foreign.has(mine.key)
    assert read(foreign, mine) is None
    assert not renamed.exists()
    assert len(list(tmp_path.iterdir())) == 4
    assert read(folder(tmp_path), wanted) == bytes(data())


def test_another_shape_of_latents_is_refused(tmp_path: Path) -> None:
    wanted = page(5)
    folder(tmp_path).write(wanted, data()[:-1])
    assert read(folder(tmp_path), wanted) is None


@pytest.mark.parametrize("jump", [0, -(10**18), 10**18, 10**21])
def test_the_longest_unused_go_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    one = snapshot._HEAD.size + 32 + 4 + SIZE
    pages = [page(i) for i in range(4)]
    stored = folder(tmp_path, max_bytes=3 * one)
    for each in pages[:3]:
        stored.write(each, data())
    now = snapshot.time.time_ns()
    monkeypatch.setattr(snapshot.time, "time_ns", lambda: now + jump)
    stored.touch([pages[0].key])
    monkeypatch.undo()
    again = folder(tmp_path, max_bytes=3 * one)
    again.write(pages[3], data())
    assert [again.has(p.key) for p in pages] == [True, False, True, True]
    again = folder(tmp_path, max_bytes=2 * one)
    assert [again.has(p.key) for p in pages] == [True, False, False, True]
    assert again.bytes == 2 * one == sum(f.stat().st_size for f in tmp_path.iterdir())


def test_the_end_of_a_sequence_goes_before_its_beginning(tmp_path: Path) -> None:
    stored = folder(tmp_path)
    chain = [page(*range(64))]
    for i in range(3):
        chain.append(page(*[i] * 64, parent=chain[-1].key))
    for each in reversed(chain):
        stored.write(each, data())
    stored.touch([each.key for each in chain])
    small = folder(tmp_path, max_bytes=stored.bytes // 2)
    assert [small.has(p.key) for p in chain] == [True, True, False, False]


def test_without_a_size_a_tenth_of_the_disk(tmp_path: Path) -> None:
    stored = folder(tmp_path, max_bytes=0)
    assert 0 < stored.max_bytes <= 20 << 30


POOL = LatentPool(config(), 8, "float32")


class Held:
    def __init__(self, number: int, count: int = 1, parent: bytes = ROOT) -> None:
        self.tokens = (number,) * count
        self.page = number
        self.stored = page(*self.tokens, parent=parent)
        self.key = self.stored.key


def test_a_full_disk_stops_the_writing_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = SnapshotFolder(tmp_path / "new", ROOT, 1 << 20)
    writer = SnapshotWriter(POOL, stored, threading.Lock())
    writer.keep([Held(1)])
    assert writer.flush(30) and stored.pages == 1
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    writer.keep([Held(2), Held(3)])
    assert writer.flush(30)
    monkeypatch.setattr(os, "replace", replace)
    assert writer.error == "the disk is full"
    writer.keep([Held(4)])
    writer.leaving(Held(5))
    writer.close(30)
    assert [f.name[-7:] for f in stored.folder.iterdir()] == ["-1.page"], "nothing half written"
    into = bytearray(POOL.row_bytes)
    assert stored.read(Held(1).stored, memoryview(into)), "what is there can still be read"


def test_of_what_is_too_long_the_beginning_is_kept(tmp_path: Path) -> None:
    stored = SnapshotFolder(tmp_path, ROOT, int(2.5 * (POOL.page_bytes + FILE_OVERHEAD)))
    writer = SnapshotWriter(POOL, stored, threading.Lock())
    path: list[Held] = []
    for i in range(4):
        path.append(Held(i, 64, path[-1].key if path else ROOT))
    for _ in range(2):
        writer.keep(path)
    writer.close(30)
    assert [stored.has(held.key) for held in path] == [True, True, False, False]


def test_a_page_that_left_the_pool_is_not_written_in_another_s_name(tmp_path: Path) -> None:
    stored = SnapshotFolder(tmp_path, ROOT, 1 << 20)
    writer = SnapshotWriter(POOL, stored, threading.Lock())
    gone, there = Held(1), Held(2)
    gone.page = -1
    writer.keep([gone, there])
    writer.close(30)
    assert [stored.has(held.key) for held in (gone, there)] == [False, True]
    writer = SnapshotWriter(POOL, stored, threading.Lock())
    gone.page = 1
    writer.leaving(gone)
    gone.page = -1
    writer.close(30)
    assert stored.has(gone.key), "a copy was made in time"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    writer = SnapshotWriter(
        POOL, SnapshotFolder(tmp_path / "file" / "under", ROOT), threading.Lock()
    )
    assert writer.flush(30) and not writer.scanning
    writer.close(30)
    assert writer.error is not None and writer.error.startswith("snapshots cannot be written")


_ENDLESS = """
import sys
from pathlib import Path
from tests.unit.engine.cache.test_snapshot import data, folder, page
stored = folder(Path(sys.argv[1]), max_bytes=1 << 30)
for i in range(1_000_000):
    stored.write(page(i), data(i))
    if i == 40:
        print("go on", flush=True)
"""


def test_killed_while_writing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _ENDLESS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"go on\n"
        process.send_signal(signal.SIGKILL)
    (tmp_path / f".{'0' * 32}.{process.pid}.tmp").write_text("cut off")
    stored = folder(tmp_path, max_bytes=1 << 30)
    assert stored.pages > 40
    for i in range(stored.pages):
        assert read(stored, page(i)) == bytes(data(i))
    assert not list(tmp_path.glob("*.tmp"))


def test_a_model_is_known_by_its_files(tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "a", seed=1)
    same, other = write_tiny(tmp_path / "b", seed=1), write_tiny(tmp_path / "c", seed=2)
    assert fingerprint(model) == fingerprint(same) != fingerprint(other)
    seen = {fingerprint(model)}
    for change in (_first, _last, _longer, _renamed, _configured):
        change(model)
        seen.add(fingerprint(model))
    assert len(seen) == 6


def _first(model: Path) -> None:
    file = sorted(model.glob("*.safetensors"))[0]
    raw = bytearray(file.read_bytes())
    raw[8 + int.from_bytes(raw[:8], "little")] ^= 1
    file.write_bytes(raw)


def _last(model: Path) -> None:
    file = sorted(model.glob("*.safetensors"))[-1]
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)


def _longer(model: Path) -> None:
    with sorted(model.glob("*.safetensors"))[0].open("ab") as file:
        file.write(b"\0")


def _renamed(model: Path) -> None:
    file = sorted(model.glob("*.safetensors"))[0]
    file.rename(file.with_name("another.safetensors"))


def _configured(model: Path) -> None:
    with (model / "config.json").open("a") as file:
        file.write(" ")
