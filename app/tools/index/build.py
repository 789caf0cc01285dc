"""Bringing a collection's index up to its folder: only what changed is read again."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from app.errors import RequestError, ToolError
from app.tools.documents.document import (
    LOCAL,
    Kind,
    kind_of_name,
    passages,
    without_marks,
)
from app.tools.documents.reader import Reader
from app.tools.index.store import IndexStore, Stored

LARGEST = 32 << 20
"""Bytes of a file; larger ones are counted as problems."""
PASSAGE = 1_500
"""Characters of a passage."""

_COMMIT_SECONDS = 1.0
_COMMIT_FILES = 100
_PROBLEMS_NAMED = 50
_SKIPPED = frozenset({"__pycache__", "node_modules"})


@dataclass(slots=True)
class Report:
    """Counts of files. ``complete`` is False when it was stopped; what was done is kept."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    unreadable: int = 0
    """Among the added and changed: files that no text could be got from."""
    seconds: float = 0.0
    complete: bool = False
    problems: list[tuple[str, str]] = field(default_factory=list)
    """The first of the unreadable: path and reason."""

    @property
    def files(self) -> int:
        return self.added + self.changed + self.unchanged


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    full: str
    kind: Kind
    size: int
    mtime: int


def build(
    index: Path,
    collection: str,
    folder: Path,
    reader: Reader,
    progress: Callable[[Report], None],
    stopped: threading.Event,
) -> Report:
    """Walk the folder, links not followed, and index what is new or different.

    Blocking; ``progress`` is called about once a second with the report so far. Holds one file in
    memory at a time. Stopping keeps what is done, and the next call goes on there. Raises
    RequestError ``no_folder`` and StoreError.
    """
    if not folder.is_dir():
        raise RequestError("no_folder", f"there is no folder {folder}")
    began = time.monotonic()
    report = Report()
    with IndexStore.open(index) as store:
        walk = store.next_walk()
        files = _files(str(folder), "")
        while not report.complete and not stopped.is_set():
            with store.transaction():
                report.complete = _batch(store, collection, files, walk, reader, report, stopped)
                if report.complete:
                    report.removed = store.remove_unseen(collection, walk)
            report.seconds = time.monotonic() - began
            progress(report)
    return report


def _batch(
    store: IndexStore,
    collection: str,
    files: Iterator[_File],
    walk: int,
    reader: Reader,
    report: Report,
    stopped: threading.Event,
) -> bool:
    """Files until it is time to commit; whether there are no more."""
    late = time.monotonic() + _COMMIT_SECONDS
    for done, file in enumerate(files, 1):
        try:
            _take(store, collection, file, walk, reader, report)
        except ToolError as error:
            if error.code != "stopped":
                raise
        if done == _COMMIT_FILES or time.monotonic() > late or stopped.is_set():
            return False
    return True


def _take(
    store: IndexStore, collection: str, file: _File, walk: int, reader: Reader, report: Report
) -> None:
    known = store.stored(collection, file.path)
    if known and (known.size, known.mtime) == (file.size, file.mtime):
        store.touch(known.id, file.mtime, walk)
        report.unchanged += 1
        return
    title, text, digest, problem = "", "", b"", ""
    try:
        data = read_file(file.full)
        digest = hashlib.blake2b(data, digest_size=16).digest()
        if known and known.hash == digest and not known.problem:
            store.touch(known.id, file.mtime, walk)
            report.unchanged += 1
            return
        document = reader.read(data, file.kind, f"{LOCAL}{collection}/{file.path}")
        title, text = document.title, without_marks(document.text)
    except ToolError as error:
        if error.code == "stopped":
            raise
        problem = error.message
    if problem:
        report.unreadable += 1
        if len(report.problems) < _PROBLEMS_NAMED:
            report.problems.append((file.path, problem))
    title = title or file.path.rpartition("/")[2]
    stored = Stored(known.id if known else 0, file.size, file.mtime, digest, problem)
    store.replace(collection, file.path, stored, title, passages(text, PASSAGE), walk)
    if known:
        report.changed += 1
    else:
        report.added += 1


def read_file(path: str) -> bytes:
    """A regular file's bytes, without following a link. Raises ToolError ``unreadable``."""
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(path, flags), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ToolError("unreadable", "this is not a file")
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ToolError("unreadable", str(error.strerror)) from error
    if len(data) > LARGEST:
        raise ToolError("unreadable", f"larger than {LARGEST >> 20} MiB")
    return data


def _files(folder: str, within: str) -> Iterator[_File]:
    """Documents below a folder in order of their names; what cannot be listed is passed over."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        path = f"{within}{entry.name}"
        if entry.name.startswith(".") or entry.name in _SKIPPED or not _writable_name(path):
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, path + "/")
                continue
            kind = kind_of_name(entry.name)
            if kind is None or not entry.is_file(follow_symlinks=False):
                continue
            found_stat = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        yield _File(path, entry.path, kind, found_stat.st_size, found_stat.st_mtime_ns)


def _writable_name(path: str) -> bool:
    """Whether a name is text; Linux lets it be any bytes."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
