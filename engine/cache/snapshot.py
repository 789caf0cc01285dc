"""Pages on disk, so that nothing is computed again after a restart. One file a page.

A page's key is a hash of the model, of all tokens before it and of its own; so a key names one
content, and whoever has the tokens finds the pages without any list of conversations. A file is
written under another name first: one that is there is whole, unless the machine lost power or
somebody changed it, and that its checksum shows.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import psutil

log = logging.getLogger("engine")
_MAGIC = b"SLNPAGE1"
_HEAD = struct.Struct("<8s16s16s16sIQ")
"""Magic, root, parent's key, key, tokens, bytes of latents. Then digest, int32 tokens, latents."""
_DIGEST_BYTES = 32
FILE_OVERHEAD = _HEAD.size + _DIGEST_BYTES + 4 * 64
"""Bytes of a full page's file beside its latents."""
_NAME = re.compile(r"([0-9a-f]{32})-([0-9a-f]{32})-([1-9]\d?)\.page")
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.(\d+)\.tmp")
_USUAL_BYTES = 20 << 30
_SHARE_OF_FREE = 10
_MOST_FILES = 100_000
_FAR = 1 << 62
"""Nanoseconds, in the year 2116. A clock that is later is wrong and not followed."""
_LAST = 3 << 61
"""Later times of files are wrong, too; counting on from here cannot overflow."""


def chain_key(parent: bytes, tokens: Sequence[int]) -> bytes:
    """The key of the page with `tokens` after the page with the key `parent`."""
    packed = struct.pack(f"<{len(tokens)}i", *tokens)
    return hashlib.blake2b(parent + packed, digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class StoredPage:
    """What a file holds, beside its latents."""

    parent: bytes
    key: bytes
    tokens: tuple[int, ...]


@dataclass(slots=True)
class _Entry:
    parent: bytes
    count: int
    size: int
    stamp: int
    tokens: tuple[int, ...] | None = None
    """Read when first needed."""


class SnapshotFolder:
    """The files of all models in one folder. Any thread; `root` is the key before a first page.

    The longest unused go when there are more than `max_bytes` (0: 20 GiB, or a tenth of what is
    free). The order of use is kept in the files' times: a counter that follows the clock where it
    can and never goes back.
    """

    def __init__(self, folder: Path, root: bytes, max_bytes: int = 0) -> None:
        self.folder = folder
        self.root = root
        self.max_bytes = max_bytes
        self.bytes = 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        """From the longest unused to the last used."""
        self._after: dict[bytes, set[bytes]] = {}
        self._clock = 0

    @property
    def pages(self) -> int:
        """Files in the folder."""
        return len(self._entries)

    def scan(self) -> None:
        """Find what is there; until then nothing is. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = []
        with os.scandir(self.folder) as files:
            for file in files:
                if (name := _NAME.fullmatch(file.name)) and file.is_file(follow_symlinks=False):
                    facts = file.stat()
                    stamp = facts.st_mtime_ns if 0 < facts.st_mtime_ns < _LAST else 0
                    parent, key = (bytes.fromhex(name[i]) for i in (1, 2))
                    found.append((stamp, key, _Entry(parent, int(name[3]), facts.st_size, stamp)))
                elif (name := _TEMPORARY.fullmatch(file.name)) and not _alive(int(name[1])):
                    with contextlib.suppress(OSError):
                        os.unlink(file)
        found.sort(key=lambda each: each[:2])
        with self._lock:
            for _, key, entry in found:
                if key not in self._entries:
                    self._add(key, entry)
            self._clock = found[-1][0] if found else 0
            if not self.max_bytes:
                free = shutil.disk_usage(self.folder).free + self.bytes
                self.max_bytes = min(_USUAL_BYTES, free // _SHARE_OF_FREE)
        self._shrink()

    def has(self, key: bytes) -> bool:
        """Whether there is a file that may hold a page."""
        return key in self._entries

    def unread(self, parent: bytes) -> bool:
        """Whether to say what follows a page takes reading files."""
        with self._lock:
            return any(self._entries[key].tokens is None for key in self._after.get(parent, ()))

    def after(self, parent: bytes) -> list[StoredPage]:
        """The pages that follow a page, as far as their tokens can be read."""
        with self._lock:
            entries = [(key, self._entries[key]) for key in self._after.get(parent, ())]
        pages = []
        for key, entry in entries:
            if entry.tokens is None:
                entry.tokens = self._read_tokens(key, entry)
            if entry.tokens:
                pages.append(StoredPage(parent, key, entry.tokens))
        return pages

    def read(self, page: StoredPage, into: memoryview) -> bool:
        """A page's latents into memory of their size. False if they are not there, or not as they
        were written: then the file goes, and `into` may hold anything."""
        head, tokens = self._head(page, len(into)), _packed(page.tokens)
        path = self.folder / _name(page.parent, page.key, len(page.tokens))
        try:
            with open(path, "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                right = (
                    size == len(head) + _DIGEST_BYTES + len(tokens) + len(into)
                    and file.read(len(head)) == head
                    and len(digest := file.read(_DIGEST_BYTES)) == _DIGEST_BYTES
                    and file.read(len(tokens)) == tokens
                    and _read_all(file, into)
                    and digest == _digest(head, tokens, into)
                )
        except OSError:
            self._forget(page.key)
            return False
        if not right:
            log.warning("a damaged snapshot was deleted: %s", path.name)
            self._delete(page.key, path)
        return right

    def write(self, page: StoredPage, data: memoryview) -> None:
        """Store a page; a shorter one that it continues goes. Raises OSError."""
        head, tokens = self._head(page, len(data)), _packed(page.tokens)
        path = self.folder / _name(page.parent, page.key, len(page.tokens))
        temporary = self.folder / f".{page.key.hex()}.{os.getpid()}.tmp"
        with self._lock:
            stamp = self._tick()
        try:
            with open(temporary, "wb", opener=_private) as file:
                for part in (head, _digest(head, tokens, data), tokens, data):
                    file.write(part)
            os.utime(temporary, ns=(stamp, stamp))
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        size = len(head) + _DIGEST_BYTES + len(tokens) + len(data)
        with self._lock:
            self._remove(page.key)
            self._add(page.key, _Entry(page.parent, len(page.tokens), size, stamp, page.tokens))
        for other in self.after(page.parent):
            if other.key != page.key and other.tokens == page.tokens[: len(other.tokens)]:
                self._delete(other.key)
        self._shrink()

    def touch(self, path: Iterable[bytes]) -> None:
        """Pages were used: those of one sequence, the first ones first, which so stay longest."""
        for key in reversed(list(path)):
            with self._lock:
                entry = self._entries.get(key)
                if entry is None:
                    continue
                self._entries.move_to_end(key)
                entry.stamp = stamp = self._tick()
            with contextlib.suppress(OSError):
                os.utime(self.folder / _name(entry.parent, key, entry.count), ns=(stamp, stamp))

    # -- inside

    def _head(self, page: StoredPage, size: int) -> bytes:
        return _HEAD.pack(_MAGIC, self.root, page.parent, page.key, len(page.tokens), size)

    def _read_tokens(self, key: bytes, entry: _Entry) -> tuple[int, ...]:
        """Empty if they cannot be read. Not verified: whoever wants the page gives its tokens."""
        try:
            with open(self.folder / _name(entry.parent, key, entry.count), "rb") as file:
                file.seek(_HEAD.size + _DIGEST_BYTES)
                raw = file.read(4 * entry.count)
        except OSError:
            self._forget(key)
            return ()
        return struct.unpack(f"<{entry.count}i", raw) if len(raw) == 4 * entry.count else ()

    def _tick(self) -> int:
        """A time later than all before, whatever the clock says."""
        now = time.time_ns()
        self._clock = max(self._clock + 1, now if now < _FAR else 0)
        return self._clock

    def _add(self, key: bytes, entry: _Entry) -> None:
        self._entries[key] = entry
        self._after.setdefault(entry.parent, set()).add(key)
        self.bytes += entry.size

    def _remove(self, key: bytes) -> _Entry | None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry.size
            brothers = self._after[entry.parent]
            brothers.discard(key)
            if not brothers:
                del self._after[entry.parent]
        return entry

    def _forget(self, key: bytes) -> None:
        with self._lock:
            self._remove(key)

    def _delete(self, key: bytes, path: Path | None = None) -> None:
        with self._lock:
            entry = self._remove(key)
        if entry is not None:
            path = self.folder / _name(entry.parent, key, entry.count)
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _shrink(self) -> None:
        while True:
            with self._lock:  # a reader may forget a damaged page meanwhile
                if self.bytes <= self.max_bytes and self.pages <= _MOST_FILES:
                    return
                oldest = next(iter(self._entries))
            self._delete(oldest)


def _name(parent: bytes, key: bytes, count: int) -> str:
    return f"{parent.hex()}-{key.hex()}-{count}.page"


def _packed(tokens: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(tokens)}i", *tokens)


def _digest(head: bytes, tokens: bytes, data: memoryview) -> bytes:
    digest = hashlib.blake2b(head, digest_size=_DIGEST_BYTES)
    digest.update(tokens)
    digest.update(data)
    return digest.digest()


def _read_all(file: FileIO, into: memoryview) -> bool:
    at = 0
    while at < len(into) and (count := file.readinto(into[at:])):
        at += count
    return at == len(into)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _alive(pid: int) -> bool:
    return pid != os.getpid() and psutil.pid_exists(pid)
