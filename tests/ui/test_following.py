"""What stands around a run: its plan, the map of its window, the newest step of its trace."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from functools import partial

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from app import events as ev
from app.backends.base import ModelRequest
from app.backends.scripted import Reply
from tests.ui.stage import MakeStage, sums
from ui.chat.header_button import HeaderButton
from ui.chat.text_widgets import PlainText
from ui.context.bar import words_of

RUN = ev.RunSettings(tools=("calculator", "plan"))


def test_the_plan_is_shown_as_it_changes(qtbot: QtBot, make_stage: MakeStage) -> None:
    gate = threading.Event()

    async def wait() -> None:
        while not gate.is_set():
            await asyncio.sleep(0.005)

    def model(request: ModelRequest) -> Reply:
        done = sum(m.role == "tool" for m in request.messages)
        if done == 0:
            items = '[{"text": "read the logs", "status": "doing"}, {"text": "answer"}]'
            return Reply(calls=(("plan", f'{{"items": {items}}}'),))
        if done == 1:
            change = '{"update": [{"item": 1, "status": "done"}, {"item": 2, "status": "doing"}]}'
            return Reply(calls=(("plan", change),), pause=wait)
        return Reply(text="North.")

    s = make_stage(model, RUN)
    s.ask("Which wing?")
    text = s.window.findChild(PlainText, "planText")
    assert text is not None
    qtbot.waitUntil(lambda: text.toPlainText() == "▸\tread the logs\n○\tanswer")
    assert text.isVisible()
    gate.set()
    qtbot.waitUntil(lambda: text.toPlainText() == "✓\tread the logs\n▸\tanswer")
    qtbot.waitUntil(s.ended)
    qtbot.waitUntil(lambda: not text.isVisible())
    header = s.window.findChild(HeaderButton, "planHeader")
    assert isinstance(header, HeaderButton)
    assert header.accessibleName() == "Plan: 1 of 2 done · answer"
    qtbot.mouseClick(header, Qt.MouseButton.LeftButton)
    assert text.isVisible()


def test_the_context_map_is_drawn_and_leads_to_its_steps(
    qtbot: QtBot, make_stage: MakeStage
) -> None:
    s = make_stage(sums, RUN)
    s.press("showContext")
    s.ask("Count.")
    qtbot.waitUntil(s.ended)
    view = s.window.context
    qtbot.waitUntil(lambda: any(one.kind == "results" for one in view._map.slices))
    qtbot.waitUntil(lambda: view._map.slices[-1].kind == "replies")
    assert view._map.measured

    def texts() -> set[str]:
        return {w.text() for w in view.findChildren(QLabel) if w.isVisible()}

    # The legend is laid out an event later than the map is drawn.
    legend = {"System prompt", "Task", "Tool results", "Replies and calls"}
    qtbot.waitUntil(lambda: legend <= texts())
    assert f"{view._map.used:,} tokens; the window's size is not known" in texts()
    # What is clicked is shown in the trace.
    bar = view.bar
    last = view._map.slices[-1]
    place = bar.rect().center()
    place.setX(bar.width() - 2)
    assert bar.slice_at(place.x()) == last
    qtbot.mouseClick(bar, Qt.MouseButton.LeftButton, pos=place)
    qtbot.waitUntil(s.window.trace.isVisible)
    assert s.window.trace.chosen()[1] == s.turn.steps[-1]
    # By keyboard: from its end one stretch back is the last call's result.
    s.press("showContext")
    bar.setFocus()
    qtbot.waitUntil(bar.hasFocus)
    for key in (Qt.Key.Key_End, Qt.Key.Key_Left, Qt.Key.Key_Left):
        qtbot.keyClick(bar, key)
    (*_, result, _, _) = view._map.slices
    assert bar.accessibleDescription() == words_of(result)
    with qtbot.waitSignal(view.selected) as picked:
        qtbot.keyClick(bar, Qt.Key.Key_Return)
    assert picked.args == [result.key]


def test_only_the_newest_step_of_a_long_run_stands_open(
    qtbot: QtBot, make_stage: MakeStage
) -> None:
    gates = [threading.Event() for _ in range(3)]

    async def wait(gate: threading.Event) -> None:
        while not gate.is_set():
            await asyncio.sleep(0.005)

    def model(request: ModelRequest) -> Reply:
        done = sum(m.role == "tool" for m in request.messages)
        reply = sums(request)
        return reply if done == 3 else replace(reply, pause=partial(wait, gates[done]))

    s = make_stage(model, RUN)
    s.press("showTrace")
    tree, model_ = s.window.trace.tree, s.window.trace._model

    def opened() -> list[str]:
        turn = model_.index(0, 0)
        steps = [model_.index(row, 0, turn) for row in range(model_.rowCount(turn))]
        return [str(one.data()).split(":")[0] for one in steps if tree.isExpanded(one)]

    s.ask("Count.")
    for n, gate in enumerate(gates, 1):
        qtbot.waitUntil(lambda n=n: opened() == [f"Step {n}"])
        gate.set()
    qtbot.waitUntil(lambda: opened() == ["Step 4"])
    qtbot.waitUntil(s.ended)
    # What a person opened stays open.
    tree.expand(model_.index(0, 0, model_.index(0, 0)))
    s.ask("Again.")
    qtbot.waitUntil(lambda: len(s.bridge.state.path()) == 2 and not s.bridge.state.running)
    assert opened()[0] == "Step 1"
