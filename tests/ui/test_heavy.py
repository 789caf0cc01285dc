"""Lanes in the window, over the real core with a scripted model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QComboBox, QLabel
from pytestqt.qtbot import QtBot

from app import events as ev
from app.backends.base import ModelRequest
from app.backends.scripted import Reply
from tests.ui.stage import MakeStage
from ui.chat.header_button import HeaderButton
from ui.chat.text_widgets import RichText

RUN = ev.RunSettings(tools=("calculator", "python"), effort="heavy", lanes=4, seed=1)


@pytest.fixture
def stage(make_stage: MakeStage) -> MakeStage:
    return lambda model, run=RUN: make_stage(model, run)


def lane_of(request: ModelRequest) -> int:
    """Its number; 0: the last pass."""
    last = request.messages[-1].content or ""
    return 0 if "independent trajectories" in last else (request.sampling.seed or 0)


async def _forever() -> None:
    await asyncio.sleep(60)


def test_lanes_live_one_stopped_and_the_answer(qtbot: QtBot, stage: MakeStage) -> None:
    def model(request: ModelRequest) -> Reply:
        lane = lane_of(request)
        if not lane:
            return Reply(text="It is **12**, for sure.\nAgreeing trajectories: 1")
        thought = f"Lane {lane} thinks.\nThis is its last line."
        return Reply(thought, "13" if lane == 2 else "12", pause=_forever if lane == 4 else None)

    s = stage(model)
    box = s.window.findChild(QComboBox, "lanes")
    assert box is not None and box.isVisible() and box.currentData() == 4
    s.ask("How many?")
    qtbot.waitUntil(lambda: len(s.cards()) == 4)
    fourth = s.cards()[3]
    qtbot.waitUntil(lambda: len(s.buttons("stopLane")) == 1)
    assert "Lane 4: reads" in fourth.accessibleName()
    # A click on a card opens its trace.
    with qtbot.waitSignal(s.window.chat.selected):
        qtbot.mouseClick(s.cards()[1], Qt.MouseButton.LeftButton)
    assert s.window.trace.isVisible()
    assert str(s.window.trace.tree.currentIndex().data()).startswith("Lane 2")
    # The others are done; stopping the one that waits lets the last pass begin.
    qtbot.mouseClick(s.buttons("stopLane")[0], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not s.bridge.state.running)
    assert s.turn.answer == "It is **12**, for sure."
    assert s.turn.agreement is not None and s.turn.agreement.agree == (1, 3)
    qtbot.waitUntil(lambda: not s.cards())  # collapsed to a line with the badge
    header = s.window.chat.findChild(HeaderButton, "lanesHeader")
    assert isinstance(header, HeaderButton)
    assert "2 of 3 agree" in header.accessibleName()
    shown = [t.toPlainText() for t in s.window.chat.findChildren(RichText) if t.isVisible()]
    assert shown == ["It is 12, for sure."]
    qtbot.mouseClick(header, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(s.cards()) == 4)
    said = [card.accessibleName() for card in s.cards()]
    assert [name.split(",")[0].split(": ")[1] for name in said] == [
        "agrees", "differs", "agrees", "stopped",
    ]  # fmt: skip


def test_what_a_lane_asks_is_asked_with_its_number(qtbot: QtBot, stage: MakeStage) -> None:
    def model(request: ModelRequest) -> Reply:
        if lane_of(request) == 3 and request.messages[-1].role != "tool":
            return Reply(calls=(("python", '{"code": "1"}'),))
        return Reply(text="12")

    s = stage(model)
    s.window.send("How many?")
    qtbot.waitUntil(lambda: bool(s.buttons("deny")))
    asked = s.turn.lanes[2].steps[0].tools[0]
    assert asked.waiting
    texts = [w.text() for w in s.window.chat.findChildren(QLabel) if w.isVisible()]
    assert any("Lane 3: " in text for text in texts)
    qtbot.mouseClick(s.buttons("deny")[0], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not s.bridge.state.running)
    assert s.turn.lanes[2].steps[0].tools[0].status == "denied"
    assert s.turn.agreement is not None and len(s.turn.agreement.agree) == 4


def test_the_context_map_of_each_lane(qtbot: QtBot, stage: MakeStage) -> None:
    gate = threading.Event()

    async def wait() -> None:
        while not gate.is_set():
            await asyncio.sleep(0.005)

    def model(request: ModelRequest) -> Reply:
        lane = lane_of(request)
        if not lane:
            return Reply(text="It is **12**, for sure.\nAgreeing trajectories: 1")
        if lane % 2 and request.messages[-1].role != "tool":
            return Reply(f"Lane {lane} thinks.", calls=(("calculator", '{"expression": "12"}'),))
        return Reply(f"Lane {lane} ends.", f"It is {lane}.", pause=wait if lane == 1 else None)

    s = stage(model)
    s.press("showContext")
    view = s.window.context
    box = view.findChild(QComboBox, "contextLane")
    assert box is not None and not box.isVisible()
    s.ask("How many?")

    def shows(kind: str, *names: str) -> Callable[[], bool]:
        return lambda: [o.name for o in view._map.slices if o.kind == kind] == list(names)

    def said() -> list[str]:
        return [box.itemText(i).split(" · ")[0] for i in range(box.count())]

    # While lanes are at work, the first: the conversation learns of them only at the end.
    qtbot.waitUntil(box.isVisible)
    qtbot.waitUntil(shows("reasoning", "Lane 1 thinks."))
    assert said() == ["the conversation", "Lane 1", "Lane 2", "Lane 3", "Lane 4"]
    assert box.currentText() == "Lane 1"
    # By keyboard: the box is before the decisions, and the arrow keys choose.
    box.setFocus()
    qtbot.keyClick(box, Qt.Key.Key_Down)
    qtbot.waitUntil(shows("reasoning", "Lane 2 ends."))
    qtbot.waitUntil(lambda: box.currentText() == "Lane 2 · answered")
    # A lane that is looked at elsewhere is the one shown here, and what was chosen stays.
    qtbot.mouseClick(s.cards()[2], Qt.MouseButton.LeftButton)
    s.press("showContext")
    qtbot.waitUntil(shows("reasoning", "Lane 3 thinks.", "Lane 3 ends."))
    gate.set()
    qtbot.waitUntil(lambda: not s.bridge.state.running)
    qtbot.waitUntil(lambda: box.itemText(1) == "Lane 1 · agrees")
    assert box.currentText() == "Lane 3 · differs"
    # What is clicked in its map is its own, though the calls of lanes have the same names.
    (result,) = (one for one in view._map.slices if one.kind == "results")
    view.selected.emit(result.key)
    lane, _, run = s.window.trace.chosen()
    assert run is not None and lane == s.turn.lanes[2]
    # The main line, picked in the trace.
    s.window.trace.reveal(s.turn.lanes[3].id)
    s.window.trace.tree.setFocus()
    qtbot.keyClick(s.window.trace.tree, Qt.Key.Key_Down)
    s.press("showContext")
    qtbot.waitUntil(lambda: box.currentText() == "the conversation")
    qtbot.waitUntil(shows("replies", "It is **12**, for sure."))
    # A run without lanes has nothing to choose from.
    effort = s.window.findChild(QComboBox, "effort")
    assert effort is not None
    effort.setCurrentIndex(effort.findData("standard"))
    s.ask("And then?")
    qtbot.waitUntil(lambda: len(s.bridge.state.path()) == 2 and not s.bridge.state.running)
    qtbot.waitUntil(lambda: not box.isVisible())
    qtbot.waitUntil(lambda: view._map.slices[-1].kind != "markers" and box.count() == 0)


def test_what_lanes_changed_is_shown_and_undone(
    qtbot: QtBot, stage: MakeStage, tmp_path: Path
) -> None:
    def model(request: ModelRequest) -> Reply:
        lane = lane_of(request)
        if lane and request.messages[-1].role != "tool":
            return Reply(calls=(("write_file", f'{{"path": "{lane}.txt", "content": "new"}}'),))
        return Reply(text="done")

    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "2.txt").write_text("old")
    s = stage(model, ev.RunSettings(tools=("write_file",), effort="heavy", lanes=2, seed=1))
    s.window.set_folder(str(folder))
    s.ask("Write.")
    for left in (2, 1):
        qtbot.waitUntil(lambda n=left: len(s.buttons("allowOnce")) == n)
        s.click(qtbot, "allowOnce")
    qtbot.waitUntil(lambda: not s.bridge.state.running)
    assert [(folder / f"{n}.txt").read_text() for n in (1, 2)] == ["new", "new"]
    # A card for each call that changed something, below the line of all lanes.
    qtbot.waitUntil(lambda: len(s.buttons("undoChange")) == 2)
    heads = [w for w in s.window.chat.findChildren(HeaderButton, "toolHeader") if w.isVisible()]
    heads.sort(key=lambda head: head.mapToGlobal(QPoint()).y())
    assert [h.title.text() for h in heads] == ["Lane 1: write_file", "Lane 2: write_file"]
    second = max(s.buttons("undoChange"), key=lambda b: b.mapToGlobal(QPoint()).y())
    qtbot.mouseClick(second, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: (folder / "2.txt").read_text() == "old")
    qtbot.waitUntil(lambda: len(s.buttons("undoChange")) == 1)
    texts = {w.text() for w in s.window.chat.findChildren(QLabel) if w.isVisible()}
    assert {"undone", "+1 −0"} <= texts
    # The same from the trace, where every call of every lane is.
    s.press("showTrace")
    first, other = (
        s.window.steering.menu_for(*s.window.trace.about(key), key)
        for key in (f"{lane.id}/{lane.steps[0].tools[0].call}" for lane in s.turn.lanes)
    )
    undo, gone = (menu.findChild(QAction, "undoChange") for menu in (first, other))
    assert undo is not None and gone is not None and not gone.isEnabled()
    assert undo.text() == "Undo the change of 1.txt"
    undo.trigger()
    qtbot.waitUntil(lambda: not (folder / "1.txt").exists())
    qtbot.waitUntil(lambda: not s.buttons("undoChange"))
