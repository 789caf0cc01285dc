"""The index file: documents, their passages, and the search over them (SQLite FTS5)."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import StoreError, ToolError
from app.paths import folder_error
from app.tools.documents.document import LOCAL, Passage

SCHEMA_VERSION = 1
MOST_PASSAGES = 1 << 20
SEARCH_SECONDS = 5.0
MOST_TERMS = 32
SNIPPET_WORDS = 48

_SCHEMA = Path(__file__).with_name("schema.sql")
_PER_DOCUMENT = 2
"""Passages of one document among the hits."""
_CANDIDATES = 400
_SEPARATOR = "\u200b"
"""Invisible and no part of a word: what stands between signs of scripts without spaces."""
_SPACELESS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\uac00-\ud7af"
_SIGN = re.compile(f"[{_SPACELESS}]")
_TERM = re.compile(r'"([^"]+)"|([^\s"]+)')


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of a file that was indexed. ``problem``: why it has no text, if so."""

    id: int
    size: int
    mtime: int
    hash: bytes
    problem: str


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that fits a query. ``score``: larger is better, comparable within a query."""

    collection: str
    path: str
    title: str
    heading: str
    snippet: str
    score: float

    @property
    def address(self) -> str:
        return f"{LOCAL}{self.collection}/{self.path}"


@dataclass(frozen=True, slots=True)
class Size:
    documents: int
    passages: int
    problems: int


class IndexStore:
    """One connection, for the thread that opened it. Methods raise StoreError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._typed():
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        try:
            with self._typed():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator[IndexStore]:
        """Open or create. It can be made again, so a damaged or foreign file is thrown away."""
        try:
            store = cls(path)
        except StoreError as error:
            if error.code != "index_damaged":
                raise
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            store = cls(path)
        try:
            yield store
        finally:
            with contextlib.suppress(sqlite3.Error):
                store._connection.close()

    def _prepare(self) -> None:
        run = self._connection.execute
        (version,) = run("PRAGMA user_version").fetchone()
        if version == SCHEMA_VERSION:
            run("SELECT 1 FROM documents").fetchone()
            return
        if run("SELECT 1 FROM sqlite_master").fetchone():
            raise StoreError("index_damaged", f"{self._path} is not an index of this version")
        run("PRAGMA journal_mode=WAL")
        with self.transaction():
            if run("PRAGMA user_version").fetchone() == (0,):
                for statement in _SCHEMA.read_text(encoding="utf-8").split(";"):
                    run(statement)
                run(f"PRAGMA user_version={SCHEMA_VERSION}")

    # -- writing ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        with self._typed():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def stored(self, collection: str, path: str) -> Stored | None:
        row = self._connection.execute(
            "SELECT id, size, mtime, hash, problem FROM documents"
            " WHERE collection = ? AND path = ?",
            (collection, path),
        ).fetchone()
        return Stored(*row) if row else None

    def touch(self, id: int, mtime: int, seen: int) -> None:
        """The file is as it was; it may have another date."""
        self._connection.execute(
            "UPDATE documents SET mtime = ?, seen = ? WHERE id = ?", (mtime, seen, id)
        )

    def replace(
        self,
        collection: str,
        path: str,
        file: Stored,
        title: str,
        passages: Iterable[Passage],
        seen: int,
    ) -> None:
        """Store a file in place of what was known of it. ``file.id`` 0: a new one."""
        run = self._connection.execute
        if file.id:
            self._forget_passages(file.id)
        (id,) = run(
            "INSERT INTO documents (collection, path, title, size, mtime, hash, problem, seen)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (collection, path) DO UPDATE SET"
            " title = excluded.title, size = excluded.size, mtime = excluded.mtime,"
            " hash = excluded.hash, problem = excluded.problem, seen = excluded.seen RETURNING id",
            (collection, path, title, file.size, file.mtime, file.hash, file.problem, seen),
        ).fetchone()
        for place, passage in enumerate(passages):
            if place == MOST_PASSAGES:
                break
            run(
                "INSERT INTO passages (rowid, title, heading, body) VALUES (?, ?, ?, ?)",
                (id << 20 | place, *map(_separated, (title, passage.heading, passage.text))),
            )

    def remove_unseen(self, collection: str, seen: int) -> int:
        """Forget the collection's files that the walk numbered ``seen`` did not meet; how many."""
        rows = self._connection.execute(
            "DELETE FROM documents WHERE collection = ? AND seen != ? RETURNING id",
            (collection, seen),
        ).fetchall()
        for (id,) in rows:
            self._forget_passages(id)
        return len(rows)

    def next_walk(self) -> int:
        (last,) = self._connection.execute("SELECT max(seen) FROM documents").fetchone()
        return (last or 0) + 1

    def _forget_passages(self, id: int) -> None:
        self._connection.execute(
            "DELETE FROM passages WHERE rowid BETWEEN ? AND ?", (id << 20, (id + 1 << 20) - 1)
        )

    # -- reading ------------------------------------------------------------------------------

    def size(self, collection: str) -> Size:
        with self._typed():
            documents, problems = self._connection.execute(
                "SELECT count(*), count(nullif(problem, '')) FROM documents WHERE collection = ?",
                (collection,),
            ).fetchone()
            (passages,) = self._connection.execute(
                "SELECT count(*) FROM passages"
                " JOIN documents ON documents.id = passages.rowid >> 20 WHERE collection = ?",
                (collection,),
            ).fetchone()
        return Size(documents, passages, problems)

    def search(self, query: str, collections: Iterable[str], count: int) -> list[Found]:
        """The passages that fit best, at most two of a document. Raises ToolError ``search``."""
        match = match_expression(query)
        if not match:
            raise ToolError("search", "the query has no word to search for")
        wanted = set(collections)
        late = time.monotonic() + SEARCH_SECONDS
        found: list[Found] = []
        seen: dict[tuple[str, str], int] = {}
        self._connection.set_progress_handler(lambda: time.monotonic() > late, 10_000)
        try:
            for row in self._candidates(match):
                name, path, title, heading, snippet, score = row
                one = Found(name, path, title, _together(heading), _together(snippet), -score)
                place = (one.collection, one.path)
                if one.collection not in wanted or seen.get(place, 0) >= _PER_DOCUMENT:
                    continue
                seen[place] = seen.get(place, 0) + 1
                found.append(one)
                if len(found) == count:
                    break
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                raise ToolError("search", "the search took too long; use rarer words") from None
            raise
        finally:
            self._connection.set_progress_handler(None, 0)
        return found

    def _candidates(self, match: str) -> list[tuple[str, str, str, str, str, float]]:
        with self._typed():
            return self._connection.execute(
                "SELECT collection, path, documents.title, heading, snippet, score FROM"
                " (SELECT rowid AS passage, heading, rank AS score,"
                f"  snippet(passages, 2, '', '', '…', {SNIPPET_WORDS}) AS snippet"
                "  FROM passages WHERE passages MATCH ? ORDER BY rank LIMIT ?)"
                " JOIN documents ON documents.id = passage >> 20 ORDER BY score",
                (match, _CANDIDATES),
            ).fetchall()

    @contextlib.contextmanager
    def _typed(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                raise
            if "disk is full" in str(error):
                raise StoreError("disk_full", f"no space left for {self._path}") from error
            if "unable to open" in str(error):
                raise folder_error(self._path, OSError(2, str(error))) from error
            if "no such table" in str(error):
                raise StoreError("index_damaged", f"{self._path}: {error}") from error
            raise StoreError("index", f"{self._path}: {error}", retryable=True) from error
        except sqlite3.DatabaseError as error:
            raise StoreError("index_damaged", f"{self._path}: {error}") from error


def match_expression(query: str) -> str:
    """FTS5's form of a person's query: words, any of which counts, and "phrases in quotes"."""
    terms: list[str] = []
    for phrase, word in _TERM.findall(query):
        term = _separated((phrase or word).replace("\0", " "))
        if any(c.isalnum() for c in term):
            terms.append('"' + term.replace('"', " ") + '"')
    return " OR ".join(list(dict.fromkeys(terms))[:MOST_TERMS])


def _separated(text: str) -> str:
    """Every sign of a script without spaces becomes a word of its own."""
    return _SIGN.sub(lambda match: f"{_SEPARATOR}{match[0]}{_SEPARATOR}", text)


def _together(text: str) -> str:
    return text.replace(_SEPARATOR, "")
