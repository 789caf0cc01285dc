"""The database file: opened, checked, moved aside if damaged; errors made typed.

Write-ahead log with ``synchronous=NORMAL``: a commit is with the operating system before it
returns, so the death of the process loses nothing that was committed.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from app.errors import StoreError
from app.notices import Notice

SCHEMA_VERSION = 1
_CHECK_LIMIT = 64 << 20
"""Bytes up to which the whole file is checked on opening (about 0.1 s)."""

_SUFFIXES = ("", "-wal", "-shm")


class Database:
    """One connection, used on the thread that made it. Every method raises StoreError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _typed(path):
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        try:
            with _typed(path):
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    @classmethod
    def open(cls, path: Path) -> tuple[Database, Notice | None]:
        """Open or create. A damaged file is kept aside and a new one begun."""
        try:
            return cls(path), None
        except StoreError as error:
            if error.code != "damaged":
                raise
        aside = _move_aside(path)
        return cls(path), Notice(
            "database_damaged",
            "The conversation database was damaged; a new one was begun.",
            f"The old one was kept as {aside}.",
        )

    def _prepare(self) -> None:
        run = self._connection.execute
        (version,) = run("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StoreError(
                "newer_version",
                f"{self.path} was written by a newer version",
                "update the program, or choose another data folder",
            )
        if self.path.stat().st_size <= _CHECK_LIMIT:
            (verdict,) = run("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise StoreError("damaged", f"{self.path}: {verdict}")
        (mode,) = run("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise StoreError(
                "read_only", f"cannot write to {self.path}", "choose another data folder"
            )
        run("PRAGMA synchronous=NORMAL")
        if version == 0:
            schema = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
            # Another process may have made the tables between the look and the lock.
            run("BEGIN IMMEDIATE")
            if run("PRAGMA user_version").fetchone() == (0,):
                for statement in schema.split(";"):
                    run(statement)
                run(f"PRAGMA user_version={SCHEMA_VERSION}")
            run("COMMIT")
        elif not run("SELECT 1 FROM sqlite_master WHERE name='events'").fetchone():
            raise StoreError("damaged", f"{self.path} has no events")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; committed when the block ends."""
        with _typed(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with _typed(self.path):
            return self._connection.execute(sql, arguments).fetchall()

    def limit_pages(self, pages: int) -> None:
        """Refuse to grow past so many pages of 4 KiB, as a full disk would; 0 lifts it."""
        with _typed(self.path):
            self._connection.execute(f"PRAGMA max_page_count={pages or 2**32 - 2}")

    def close(self) -> None:
        """Idempotent. The write-ahead log is folded into the file."""
        with suppress(sqlite3.Error):
            self._connection.close()


@contextmanager
def _typed(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _store_error(path, error) from error
    except OSError as error:
        raise StoreError("no_folder", f"cannot use {path}: {error.strerror}") from error


def _store_error(path: Path, error: sqlite3.Error) -> StoreError:
    # The low byte is the primary code; the rest refines it.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreError(
            "disk_full", f"no space left for {path}", "free some space, then resume", retryable=True
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreError(
            "read_only", f"cannot write to {path}", "make it writable or choose another folder"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreError("damaged", f"{path} is damaged: {error}", "restart the program")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError("busy", f"{path} is in use elsewhere", "try again", retryable=True)
    return StoreError("io", f"{path}: {error}", "look at the disk", retryable=True)


def _move_aside(path: Path) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    with _typed(path):
        for suffix in _SUFFIXES:
            old = path.with_name(path.name + suffix)
            if old.exists():
                old.replace(aside.with_name(aside.name + suffix))
    return aside
