"""Writing, editing and undoing on a real folder, and that no race leads out of it."""

from __future__ import annotations

import ctypes
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import events as ev
from app.errors import RequestError, ToolError
from app.store.blobs import Blobs, blob_id
from app.tools import beneath
from app.tools.base import ToolContext, facts_of
from app.tools.difference import unified
from app.tools.edits import EditFile, WriteFile, undo

TOOLS = {"write": WriteFile(), "edit": EditFile()}


class Desk:
    """A context that keeps what is recorded."""

    def __init__(self, context: ToolContext) -> None:
        assert context.folder is not None
        self.folder = context.folder
        self.blobs = Blobs(context.scratch / "blobs")
        self.changes: list[ev.FileChanged] = []
        self.context = replace(context, call="c", record=self._record, blobs=self.blobs)

    def _record(self, body: ev.Body) -> None:
        assert isinstance(body, ev.FileChanged)
        self.changes.append(body)

    async def use(self, tool: str, **arguments: Any) -> str:
        return await TOOLS[tool].run(arguments, self.context, lambda text: None)

    async def fault(self, tool: str, **arguments: Any) -> ToolError:
        with pytest.raises(ToolError) as caught:
            await self.use(tool, **arguments)
        return caught.value

    def undo(self) -> None:
        undo(self.folder, self.changes.pop(), self.blobs)


@pytest.fixture
def desk(context: ToolContext) -> Desk:
    return Desk(context)


async def test_write_and_undo(desk: Desk) -> None:
    path = desk.folder / "a" / "b" / "new.txt"
    assert await desk.use("write", path="a/b/new.txt", content="one\n") == (
        "made a/b/new.txt: now 1 lines, 4 bytes"
    )
    assert path.read_text() == "one\n"
    path.chmod(0o755)
    await desk.use("write", path=str(path), content="two\n")
    assert path.stat().st_mode & 0o777 == 0o755
    assert desk.changes[0].before is None
    assert desk.changes[1].path == "a/b/new.txt"
    assert desk.changes[1].diff == "--- a/a/b/new.txt\n+++ b/a/b/new.txt\n@@ -1 +1 @@\n-one\n+two"
    assert "as wanted already" in await desk.use("write", path="a/b/new.txt", content="two\n")
    desk.undo()
    assert path.read_text() == "one\n"
    desk.undo()
    assert not path.exists()


async def test_edits(desk: Desk) -> None:
    file = desk.folder / "f.txt"
    file.write_bytes("x = 1\r\ny = 1\r\nz é\r\n".encode())
    edits = [{"old": "y = 1\nz", "new": "y = 2\nz"}, {"old": "1", "new": "3"}]
    await desk.use("edit", path="f.txt", edits=edits)
    assert file.read_bytes() == "x = 3\r\ny = 2\r\nz é\r\n".encode()
    error = await desk.fault("edit", path="f.txt", edits=[{"old": "=", "new": ":"}])
    assert error.code == "many_matches"
    await desk.use("edit", path="f.txt", edits=[{"old": "=", "new": ":", "all": True}])
    assert file.read_text() == "x : 3\ny : 2\nz é\n"
    error = await desk.fault(
        "edit", path="f.txt", edits=[{"old": "x", "new": "q"}, {"old": "nope", "new": ""}]
    )
    assert error.message == "edit 2: its old text is not in the file"
    assert "q" not in file.read_text()
    desk.undo()
    desk.undo()
    assert file.read_bytes() == "x = 1\r\ny = 1\r\nz é\r\n".encode()


async def test_undo_refuses(desk: Desk) -> None:
    file = desk.folder / "f.txt"
    file.write_text("old")
    await desk.use("write", path="f.txt", content="new")
    change = desk.changes[0]
    file.write_text("mine")
    with pytest.raises(RequestError) as caught:
        undo(desk.folder, change, desk.blobs)
    assert caught.value.code == "changed_since"
    assert file.read_text() == "mine"
    file.write_text("new")
    with pytest.raises(RequestError) as caught:
        undo(desk.folder, change, Blobs(desk.folder / "none"))
    assert caught.value.code == "not_kept"
    file.unlink()
    file.symlink_to("/etc/hostname")
    with pytest.raises(RequestError) as caught:
        undo(desk.folder, change, desk.blobs)
    assert caught.value.code == "cannot_undo"


async def test_what_is_not_written(desk: Desk) -> None:
    outside = desk.folder.parent / "outside"
    outside.mkdir()
    (outside / "f.txt").write_text("theirs")
    (desk.folder / "up").symlink_to(outside)
    (desk.folder / "link.txt").symlink_to(outside / "f.txt")
    (desk.folder / "inner.txt").symlink_to("real.txt")
    (desk.folder / "real.txt").write_text("")
    (desk.folder / "image.png").write_bytes(b"\x89PNG\0\xff")
    for path in ("../x", "up/x", "/etc/x", "link.txt", "up/f.txt", "."):
        error = await desk.fault("write", path=path, content="")
        assert error.code in ("outside", "no_such_file", "no_such_folder"), path
    for path, code in (("image.png", "not_text"), ("inner.txt", "not_a_file")):
        assert (await desk.fault("write", path=path, content="x")).code == code
    assert (await desk.fault("write", path="b", content="\ud800")).code == "not_text"
    (desk.folder / "big").write_bytes(b"x" * (beneath.LARGEST + 1))
    assert (await desk.fault("edit", path="big", edits=[])).code == "too_large"
    os.link(outside / "f.txt", desk.folder / "hard.txt")
    await desk.use("write", path="hard.txt", content="ours")
    assert [p.name for p in outside.iterdir()] == ["f.txt"]
    assert (outside / "f.txt").read_text() == "theirs"
    assert not list(desk.folder.rglob("*.new"))


async def test_what_a_person_is_shown(desk: Desk) -> None:
    (desk.folder / "f.txt").write_text("one\n")
    facts = await facts_of(TOOLS["write"], {"path": "f.txt", "content": "two\n"}, desk.context)
    assert facts.risk == "write"
    assert facts.preview.endswith("-one\n+two")
    edit = {"path": "f.txt", "edits": [{"old": "three", "new": ""}]}
    facts = await facts_of(TOOLS["edit"], edit, desk.context)
    assert facts.preview == "(edit 1: its old text is not in the file)"
    assert (desk.folder / "f.txt").read_text() == "one\n"


@pytest.mark.parametrize("newest", [True, False])
def test_no_race_leads_out(desk: Desk, newest: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is swapped with a link to another while files below it are read and written."""
    if not newest:
        monkeypatch.setattr(beneath, "_OPENAT2", 100_000)  # a call that no kernel has
    outside = desk.folder.parent / "outside"
    outside.mkdir()
    (outside / "f.txt").write_text("private")
    inner, link = desk.folder / "inner", desk.folder / "link"
    inner.mkdir()
    link.symlink_to(outside)
    (inner / "f.txt").write_text("mine")
    names = os.fsencode(inner), os.fsencode(link)
    libc = ctypes.CDLL(None)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            libc.renameat2(-100, names[0], -100, names[1], 2)  # swaps them

    swapper = threading.Thread(target=swap)
    swapper.start()
    refused = 0
    try:
        for n in range(400):
            try:
                assert beneath.read(desk.folder, "inner/f.txt") in (b"mine", None)
                beneath.write(desk.folder, "inner/w.txt", str(n).encode())
            except (ToolError, OSError):
                refused += 1
    finally:
        stop.set()
        swapper.join()
    assert refused
    assert [p.name for p in outside.iterdir()] == ["f.txt"]


LINES = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=30).map("\n".join)


@given(LINES, LINES)
def test_a_diff_tells_all(before: str, after: str) -> None:
    """Applied to the lines before, it gives the lines after."""
    diff = unified(before, after, "f").split("\n")[2:]
    if diff in ([], ["(only the line ends differ)"]):
        assert before.splitlines() == after.splitlines()
        return
    old, made, at = before.splitlines(), [], 0
    for line in diff:
        if line.startswith("@@"):
            begin = line.split()[1][1:].split(",")
            first = int(begin[0]) - (begin[1:] != ["0"])
            made += old[at:first]
            at = first
        elif line[:1] == "+":
            made.append(line[1:])
        else:
            assert old[at] == line[1:]
            made += [line[1:]] * (line[0] == " ")
            at += 1
    assert made + old[at:] == after.splitlines()


def test_a_diff_of_a_large_file_is_quick_and_short() -> None:
    old = "\n".join(f"line {n}" for n in range(200_000))
    assert unified(old, old.replace("line 7777\n", ""), "f").split("\n")[2:] == [
        "@@ -7775,7 +7775,6 @@",
        *(f" line {n}" for n in range(7774, 7777)),
        "-line 7777",
        *(f" line {n}" for n in range(7778, 7781)),
    ]
    assert len(unified(old, old.upper(), "f")) < 41_000


def test_blobs(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "b", most=1000)
    first = blobs.put(b"x" * 400)
    assert blobs.get(first) == b"x" * 400
    assert first == blob_id(b"x" * 400)
    os.utime(tmp_path / "b" / first, (1, 1))
    second = blobs.put(b"y" * 500)
    assert blobs.put(b"z" * 1001) == ""
    third = blobs.put(b"z" * 300)
    assert blobs.get(first) is None
    assert blobs.get(second) and blobs.get(third)
    (tmp_path / "b" / second).write_bytes(b"damaged")
    assert blobs.get(second) is None
    assert blobs.get("../../etc/passwd") is None
