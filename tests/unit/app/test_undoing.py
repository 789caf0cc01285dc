"""A run that changes files and makes pictures: journal, state, and the way back."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from app import events as ev
from app.agent.undone import untold
from app.backends.base import ModelRequest
from app.backends.scripted import Reply, ScriptedBackend
from app.core import Core
from app.errors import RequestError
from app.events import RunSettings
from app.paths import Paths
from app.settings import Settings
from app.state import ToolRun, Turn, fold_all

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


WRITE = call("write_file", path="f.txt", content="first\n")
EDIT = call("edit_file", path="f.txt", edits=[{"old": "first", "new": "second"}])
DONE = Reply(text="done")
FILES = RunSettings(tools=("write_file", "edit_file"))
ALL = ev.Unattended(("*",))

Make = Callable[..., tuple[Core, ScriptedBackend]]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """A core, and the model that answers in it."""
    cores: list[Core] = []

    def make(replies: Sequence[Reply] | Callable[[ModelRequest], Reply]) -> Any:
        model = ScriptedBackend(replies)
        cores.append(Core(Paths.under(tmp_path / f"data{len(cores)}"), Settings(), model))
        cores[-1].start()
        return cores[-1], model

    yield make
    for core in cores:
        core.close()


@pytest.fixture
def core(make: Make) -> Core:
    return make([WRITE, EDIT, call("python", code=PICTURE), DONE])[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


def test_a_run_and_the_way_back(core: Core, folder: Path) -> None:
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


def told(request: ModelRequest) -> list[str]:
    """What a request says of changes that were undone, by its place."""
    return [
        f"{i - len(request.messages)}: {line}"
        for i, message in enumerate(request.messages)
        if "undid changes of yours: " in (message.content or "")
        for line in (message.content or "").split(": ")[2].split(". ")[0].split("; ")
    ]


def turn_of(core: Core, conversation: str, index: int = 0) -> Turn:
    state = core.open(conversation).result()
    assert fold_all(core.events(conversation).result()) == state
    return state.turns[index]


def test_the_model_hears_of_an_undo_in_its_next_step_once(make: Make, folder: Path) -> None:
    core, model = make([WRITE, EDIT, EDIT, DONE])
    conversation = core.create_conversation(folder=str(folder)).result()
    core.set_breakpoints(conversation, (ev.Breakpoint("step", number=3),)).result()
    paused = threading.Event()
    core.subscribe(lambda event: paused.set() if isinstance(event.body, ev.Paused) else None)
    core.send(conversation, "Go.", FILES, unattended=ALL).result()
    assert paused.wait(10)
    change = turn_of(core, conversation).steps[1].tools[0].changes[0]
    core.undo_change(conversation, change.change).result()
    core.proceed(conversation).result()
    core.wait(conversation).result()
    turn = turn_of(core, conversation)
    first, second, third, fourth = map(told, model.requests)
    assert first == second == []
    assert third == ["-1: f.txt is as it was before functions.edit_file:1"]
    # It stays where it was said, and is not said again.
    assert fourth == ["-3: f.txt is as it was before functions.edit_file:1"]
    (remark,) = turn.steps[2].remarks
    assert remark.code == "note_file_restored"
    assert remark.text.startswith("Told the model: the user undid changes of yours: f.txt is as")
    # What was undone is no repetition when it is done again.
    assert [step.tools[0].status for step in turn.steps[:3]] == ["ok"] * 3
    assert "Note from the program" not in turn.steps[2].tools[0].result
    assert (folder / "f.txt").read_text() == "second\n"


def test_the_next_question_and_every_branch_tell_of_an_undo(make: Make, folder: Path) -> None:
    core, model = make([WRITE, EDIT, DONE])
    conversation = core.create_conversation(folder=str(folder)).result()
    turn = core.send(conversation, "Go.", FILES, unattended=ALL).result()
    core.wait(conversation).result()
    for step in reversed(turn_of(core, conversation).steps[:2]):
        core.undo_change(conversation, step.tools[0].changes[0].change).result()
    before = len(model.requests)
    core.send(conversation, "And now?", FILES).result()
    core.wait(conversation).result()
    both = [
        "-1: f.txt, which functions.write_file:0 had made, is removed again",
        "-1: f.txt is as it was before functions.edit_file:1",
    ]
    assert told(model.requests[before]) == both
    core.send(conversation, "And then?", FILES).result()
    core.wait(conversation).result()
    later = told(model.requests[-1])
    assert len(later) == 2 and later == [line.replace("-1", "-3") for line in both]
    # A branch that begins before anybody was told is told, of what it has of it.
    core.fork(conversation, turn, 1, FILES).result()
    core.wait(conversation).result()
    assert told(model.requests[-1]) == both[:1]
    # One that has nothing of it is told nothing.
    core.regenerate(conversation, turn, FILES).result()
    core.wait(conversation).result()
    assert told(model.requests[-1]) == []


def test_what_a_lane_changed_can_be_undone_and_told_of(make: Make, folder: Path) -> None:
    def reply(request: ModelRequest) -> Reply:
        return WRITE if request.messages[-1].content == "Go." else DONE

    core, model = make(reply)
    conversation = core.create_conversation(folder=str(folder)).result()
    heavy = RunSettings(tools=("write_file",), effort="heavy", lanes=2, seed=1)
    asked: set[str] = set()

    def allow(event: ev.Event) -> None:
        """The first lane alone, since a lane asks before it changes what all share."""
        if isinstance(event.body, ev.ApprovalAsked):
            asked.add(event.run)
            decision: ev.Decision = "once" if len(asked) == 1 else "deny"
            core.decide(conversation, f"{event.run}/{event.body.call}", decision)

    core.subscribe(allow)
    core.send(conversation, "Go.", heavy).result()
    core.wait(conversation).result()
    turn = turn_of(core, conversation)
    (change,) = (c for lane in turn.lanes for s in lane.steps for t in s.tools for c in t.changes)
    core.undo_change(conversation, change.change).result()
    assert not (folder / "f.txt").exists()
    assert [one.change for _, one in untold([turn_of(core, conversation)])] == [change.change]
    core.send(conversation, "And now?", FILES).result()
    core.wait(conversation).result()
    assert len(told(model.requests[-1])) == 1
    assert untold(core.open(conversation).result().path()) == []
