"""The offline index: what is found, and that updates touch only what changed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import RequestError, StoreError, ToolError
from app.tools.documents.document import Passage
from app.tools.documents.reader import Reader
from app.tools.index import build as building
from app.tools.index.build import Report, build
from app.tools.index.store import IndexStore, Stored, match_expression

Update = Callable[..., Report]


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "docs"
    (made / "sub").mkdir(parents=True)
    (made / "tomato.md").write_text(
        "# Tomatoes\nIntro.\n## Watering\nWater the roots, never the leaves.\n"
    )
    (made / "sub" / "rose.html").write_text(
        "<title>Roses</title><main><h1>Roses</h1><p>Prune the shoots in spring, not the roots."
    )
    (made / "notes.txt").write_text("番茄需要充足的阳光。Grüße an alle.")
    (made / "photo.png").write_bytes(b"\x89PNG")
    (made / ".hidden.md").write_text("secret")
    return made


@pytest.fixture
def update(tmp_path: Path, folder: Path, reader: Reader) -> Update:
    def run(
        progress: Callable[[Report], None] = lambda report: None,
        stopped: threading.Event | None = None,
    ) -> Report:
        stopped = stopped or threading.Event()
        return build(tmp_path / "index.db", "garden", folder, reader, progress, stopped)

    return run


def find(tmp_path: Path, query: str, count: int = 5) -> list[str]:
    with IndexStore.open(tmp_path / "index.db") as store:
        return [found.path for found in store.search(query, ("garden",), count)]


def test_what_is_found(tmp_path: Path, update: Update) -> None:
    report = update()
    assert (report.added, report.complete, report.unreadable) == (3, True, 0)
    with IndexStore.open(tmp_path / "index.db") as store:
        first, *_ = store.search("leaves watering", ("garden",), 5)
        assert first.title == "Tomatoes"
        assert first.heading == "Tomatoes › Watering"
        assert first.snippet == "Water the roots, never the leaves."
        assert first.address == "local:garden/tomato.md"
        assert store.search("roots", ("other",), 5) == []
        assert store.size("garden").documents == 3
    assert find(tmp_path, "roses") == ["sub/rose.html"]
    assert set(find(tmp_path, "root")) == {"tomato.md", "sub/rose.html"}  # by its stem
    assert find(tmp_path, "阳光") == ["notes.txt"]
    assert find(tmp_path, "光阳") == []
    assert find(tmp_path, "grusse") == [] and find(tmp_path, "GRÜßE") == ["notes.txt"]
    assert find(tmp_path, '"the roots"', 1) != []
    assert find(tmp_path, '"roots the"') == []
    assert find(tmp_path, "secret") == []


def test_only_changes_are_read_again(tmp_path: Path, folder: Path, update: Update) -> None:
    update()
    again = update()
    assert (again.added, again.changed, again.unchanged, again.removed) == (0, 0, 3, 0)
    (folder / "notes.txt").write_text("carrots now")
    (folder / "sub" / "rose.html").unlink()
    (folder / "new.md").write_text("peas")
    os.utime(folder / "tomato.md", (1, 1))  # another date, the same bytes
    report = update()
    assert (report.added, report.changed, report.unchanged, report.removed) == (1, 1, 1, 1)
    assert find(tmp_path, "carrots peas roses 阳光") in (
        ["new.md", "notes.txt"],
        ["notes.txt", "new.md"],
    )


def test_stopped_and_gone_on_with(
    tmp_path: Path, update: Update, monkeypatch: pytest.MonkeyPatch
) -> None:
    update()
    monkeypatch.setattr(building, "_COMMIT_FILES", 1)
    stopped = threading.Event()
    report = update(progress=lambda report: stopped.set(), stopped=stopped)
    assert not report.complete
    assert report.files == 1
    found = find(tmp_path, "roots roses 阳光")
    assert len(set(found)) == 3, "what a stop did not reach is not forgotten"
    assert update().unchanged == 3


def test_trouble_with_files(tmp_path: Path, folder: Path, update: Update) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 no")
    (folder / "binary.txt").write_bytes(b"a\0b")
    os.symlink("/etc/passwd", folder / "link.txt")
    os.mkfifo(folder / "pipe.txt")
    report = update()
    assert report.unreadable == 2
    assert {path for path, _ in report.problems} == {"broken.pdf", "binary.txt"}
    assert find(tmp_path, "root:x") == []
    assert update().unchanged == 5


def test_a_large_file_is_a_problem_of_its_own(
    folder: Path, update: Update, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "LARGEST", 1 << 20)
    (folder / "huge.txt").write_bytes(b"a " * (1 << 20))
    assert update().problems == [("huge.txt", "larger than 1 MiB")]


def test_a_missing_folder_forgets_nothing(tmp_path: Path, folder: Path, update: Update) -> None:
    update()
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(RequestError) as caught:
        update()
    assert caught.value.code == "no_folder"
    assert find(tmp_path, "roses") == ["sub/rose.html"]


@pytest.mark.parametrize("damage", [b"no database", b"", None])
def test_a_damaged_index_is_made_again(
    tmp_path: Path, update: Update, damage: bytes | None
) -> None:
    update()
    index = tmp_path / "index.db"
    data = index.read_bytes()
    index.write_bytes(data[:5000] + bytes(20_000) if damage is None else damage)
    try:
        report = update()
    except StoreError as error:  # damage that shows only in use
        assert error.code == "index_damaged"
        return
    assert report.added == 3


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError), IndexStore.open(tmp_path / "no" / "index.db"):
        pass


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=60))
def test_any_query_is_a_query(query: str) -> None:
    store = IndexStore(Path(":memory:"))
    with store.transaction():
        stored = Stored(0, 1, 1, b"", "")
        store.replace("garden", "a", stored, "title", [Passage("x", "some words")], 1)
    try:
        assert isinstance(store.search(query, ("garden",), 5), list)
    except ToolError as error:
        assert error.code == "search"
        assert match_expression(query) == ""


def test_operators_are_words() -> None:
    assert match_expression("a AND (b* NOT c)") == '"a" OR "AND" OR "(b*" OR "NOT" OR "c)"'
    assert match_expression('"a b" "c') == '"a b" OR "c"'
    assert match_expression("- * ()") == ""
