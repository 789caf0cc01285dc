"""Contents by their hash: what tools made and what they overwrote, in one size-capped folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import threading
from pathlib import Path

LARGEST = 32 << 20
"""Bytes of one blob."""
MOST = 1 << 30
"""Bytes of all; those used longest ago are deleted first."""

_ID = re.compile(r"[0-9a-f]{64}")


def blob_id(data: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


class Blobs:
    """One file a blob, named by its hash. From any thread; programs may share the folder."""

    def __init__(self, folder: Path, most: int = MOST) -> None:
        """The folder is made with the first blob."""
        self._folder = folder
        self._most = most
        self._lock = threading.Lock()

    def put(self, data: bytes) -> str:
        """Its id; empty if it is too large to be kept. Raises OSError."""
        if len(data) > min(LARGEST, self._most):
            return ""
        id = blob_id(data)
        path = self._folder / id
        with self._lock:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                beside = self._folder / f"{id}.{secrets.token_hex(4)}.new"
                try:
                    with open(
                        os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
                    ) as f:
                        f.write(data)
                    beside.replace(path)
                except OSError:
                    beside.unlink(missing_ok=True)
                    raise
            os.utime(path)
            self._shrink(id)
        return id

    def get(self, id: str) -> bytes | None:
        """None: not kept (any more), or damaged."""
        if not _ID.fullmatch(id):
            return None
        path = self._folder / id
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return data if blob_id(data) == id else None

    def _shrink(self, keep: str) -> None:
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    found.append((entry.stat().st_mtime, entry.stat().st_size, entry.name))
        left = sum(size for _, size, _ in found)
        for _, size, name in sorted(found):
            if left <= self._most:
                return
            if name != keep:
                (self._folder / name).unlink(missing_ok=True)
                left -= size
