"""A run that changes files and makes pictures: journal, state, and the way back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import events as ev
from app.backends.scripted import Reply, ScriptedBackend
from app.core import Core
from app.errors import RequestError
from app.events import RunSettings
from app.paths import Paths
from app.settings import Settings
from app.state import ToolRun, fold_all

PICTURE = """
class Picture:
    def _repr_png_(self):
        return b"\\x89PNG\\r\\n\\x1a\\n" + b"picture"
class Fake:
    def _repr_png_(self):
        return b"not a picture"
class Table:
    columns = ()
    def _repr_html_(self):
        return "<table onclick=x()></table>"
    def head(self, rows):
        return self
    def to_csv(self):
        return "a,b\\n1,2\\n"
display(Picture(), Fake())
Table()
"""


def call(name: str, **arguments: object) -> Reply:
    return Reply(calls=((name, json.dumps(arguments)),))


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    replies = [
        call("write_file", path="f.txt", content="first\n"),
        call("edit_file", path="f.txt", edits=[{"old": "first", "new": "second"}]),
        call("python", code=PICTURE),
        Reply(text="done"),
    ]
    made = Core(Paths.under(tmp_path / "data"), Settings(), ScriptedBackend(replies))
    made.start()
    yield made
    made.close()


def test_a_run_and_the_way_back(core: Core, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    conversation = core.create_conversation(folder=str(folder)).result()
    settings = RunSettings(tools=("write_file", "edit_file", "python"))
    core.send(conversation, "Go.", settings, unattended=ev.Unattended(("*",))).result()
    core.wait(conversation).result()

    def tools() -> list[ToolRun]:
        state = core.open(conversation).result()
        assert fold_all(core.events(conversation).result()) == state
        return [tool for step in state.turns[0].steps for tool in step.tools]

    write, edit, python = tools()
    assert [one.status for one in (write, edit, python)] == ["ok"] * 3, python.result
    first, second = write.changes[0].change, edit.changes[0].change
    assert edit.changes[0].diff.endswith("-first\n+second")
    assert core.blobs.get(edit.changes[0].before or "") == b"first\n"
    assert [(a.media, a.title) for a in python.artefacts] == [
        ("image/png", "Picture"),
        ("text/csv", "Table"),
    ]
    assert core.blobs.get(python.artefacts[1].blob) == b"a,b\n1,2\n"
    assert "(image/png Picture, 15 bytes, is shown to the person)" in python.result

    with pytest.raises(RequestError) as caught:
        core.undo_change(conversation, first).result()
    assert caught.value.code == "changed_since"
    core.undo_change(conversation, second).result()
    assert (folder / "f.txt").read_text() == "first\n"
    core.undo_change(conversation, first).result()
    assert not (folder / "f.txt").exists()
    assert [one.undone for one in tools()] == [{first}, {second}, frozenset()]
    for change, code in ((first, "undone"), ("nope", "no_change")):
        with pytest.raises(RequestError) as caught:
            core.undo_change(conversation, change).result()
        assert caught.value.code == code
