"""Opening the database: new, again, damaged, newer, read-only."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from app.bus import Bus
from app.errors import StoreError
from app.events import ConversationCreated, Event
from app.store.db import Database
from app.store.journal import Journal


def fill(path: Path, conversations: int = 300) -> None:
    database, _ = Database.open(path)
    journal = Journal(database, Bus[Event]())
    for n in range(conversations):
        journal.append(f"c{n}", ConversationCreated("x" * 200))
    database.close()


def test_opened_again_it_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    fill(path, 3)
    database, notice = Database.open(path)
    assert notice is None
    assert database.rows("SELECT count(*) FROM conversations") == [(3,)]
    assert database.rows("PRAGMA journal_mode") == [("wal",)]
    database.close()
    database.close()
    assert not path.with_name("c.db-wal").exists()


@pytest.mark.parametrize("damage", ["header", "middle", "cut", "text"])
def test_a_damaged_file_is_kept_aside(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "c.db"
    fill(path)
    data = bytearray(path.read_bytes())
    assert len(data) > 40_000
    if damage == "header":
        data[:100] = os.urandom(100)
    elif damage == "middle":
        data[4096 * 2 : 4096 * 6] = b"\xff" * (4096 * 4)
    elif damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[:] = b"this is not a database, whatever its name says\n" * 40
    path.write_bytes(data)
    database, notice = Database.open(path)
    assert notice is not None
    assert notice.code == "database_damaged"
    (aside,) = tmp_path.glob("c.db.damaged-*")
    assert str(aside) in notice.hint
    assert aside.read_bytes() == bytes(data)
    assert database.rows("SELECT count(*) FROM conversations") == [(0,)]
    database.close()


def test_another_programs_database_is_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE notes (x)")
        other.execute("PRAGMA user_version=1")
    other.close()
    database, notice = Database.open(path)
    assert notice is not None
    database.close()


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    fill(path, 1)
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version=99")
    newer.close()
    with pytest.raises(StoreError) as caught:
        Database.open(path)
    assert caught.value.code == "newer_version"
    assert list(tmp_path.glob("*damaged*")) == []


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    path.mkdir()
    with pytest.raises(StoreError) as caught:
        Database.open(path)
    assert caught.value.code == "read_only"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    fill(folder / "c.db", 1)
    folder.chmod(0o500)
    (folder / "c.db").chmod(0o400)
    try:
        with pytest.raises(StoreError) as caught:
            Database.open(folder / "c.db")
        assert caught.value.code == "read_only"
    finally:
        folder.chmod(0o700)


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    database, _ = Database.open(tmp_path / "c.db")
    with pytest.raises(ValueError, match="no"), database.transaction() as connection:
        connection.execute("INSERT INTO runs VALUES ('c', 't', 1, 1.0)")
        raise ValueError("no")
    assert database.rows("SELECT * FROM runs") == []
    with pytest.raises(StoreError):
        database.rows("SELECT * FROM nothing")
    database.close()
