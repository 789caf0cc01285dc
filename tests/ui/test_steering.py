"""Steering a run from the window, over the real core with a scripted model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QComboBox, QLabel, QLineEdit, QMenu, QToolButton
from pytestqt.qtbot import QtBot

from app import events as ev
from app.backends.base import ModelRequest
from app.backends.scripted import Reply
from tests.ui.stage import MakeStage, Stage, sums
from ui.steering.dialogs import EditDialog, RerunDialog
from ui.steering.run_bar import Chip

RUN = ev.RunSettings(tools=("calculator", "plan"))


@pytest.fixture
def stage(make_stage: MakeStage) -> MakeStage:
    def make(model: Callable[[ModelRequest], Reply]) -> Stage:
        made = make_stage(model, RUN)
        made.press("showTrace")
        return made

    return make


def held(s: Stage) -> bool:
    return bool(s.bridge.state.turns) and s.turn.paused is not None


def add_breakpoint(s: Stage, qtbot: QtBot, kind: str, value: str) -> None:
    """In the small window that the button opens."""
    s.press("breakpoints")
    panel = s.window.steering.panel
    qtbot.waitUntil(panel.isVisible)
    count = len(s.bridge.state.breakpoints)
    box, line = panel.findChild(QComboBox), panel.findChild(QLineEdit)
    assert box is not None and line is not None
    box.setCurrentIndex(box.findData(kind))
    line.setText(value)
    s.click(qtbot, "addBreakpoint")
    qtbot.waitUntil(lambda: len(s.bridge.state.breakpoints) == count + 1)
    panel.hide()


def conversation(s: Stage, qtbot: QtBot) -> None:
    """An empty one, for breakpoints that are set before the first message."""
    s.window.open_conversation(s.core.create_conversation("t").result())
    qtbot.waitUntil(lambda: bool(s.bridge.state.id))


def menu(s: Stage, key: str) -> QMenu:
    """The menu of a line of the trace."""
    turn, step, run = s.window.trace.about(key)
    assert turn is not None
    return s.window.steering.menu_for(turn, step, run, key)


def choose(made: QMenu, name: str) -> None:
    action = made.findChild(QAction, name)
    assert action is not None and action.isEnabled(), name
    action.trigger()


def test_breakpoint_step_and_continue(qtbot: QtBot, stage: MakeStage) -> None:
    s = stage(sums)
    conversation(s, qtbot)
    add_breakpoint(s, qtbot, "step", "2")
    assert s.bridge.state.breakpoints == (ev.Breakpoint("step", number=2),)
    s.ask("Count.")
    qtbot.waitUntil(lambda: held(s))
    where = s.window.findChild(QLabel, "heldWhere")
    assert where is not None
    qtbot.waitUntil(lambda: where.text() == "Paused: before step 2")
    button = s.window.findChild(QToolButton, "pauseRunButton")
    assert button is not None and button.text() == "Continue"
    s.window.activateWindow()
    qtbot.keyClick(s.window, Qt.Key.Key_F10)
    qtbot.waitUntil(lambda: held(s) and len(s.turn.steps) == 2)
    qtbot.keyClick(s.window, Qt.Key.Key_F8)
    qtbot.waitUntil(s.ended)
    assert s.turn.answer == "The last was 3"
    assert not s.window.steering.bar.isVisible()
    assert button.text() == "Pause" and not button.isEnabled()
    s.press("breakpoints")
    s.click(qtbot, "removeBreakpoint")
    qtbot.waitUntil(lambda: s.bridge.state.breakpoints == ())
    s.window.steering.panel.hide()


@pytest.mark.parametrize(
    ("kind", "value", "can"),
    [("tool", "", False), ("step", "x", False), ("step", "0", False), ("budget", "80 %", True),
     ("budget", "120", False), ("error", "", True), ("text", "leak", True)],
)  # fmt: skip
def test_only_breakpoints_that_make_sense(
    qtbot: QtBot, stage: MakeStage, kind: str, value: str, can: bool
) -> None:
    from ui.steering.breakpoints import BreakpointPanel

    panel = BreakpointPanel()
    qtbot.addWidget(panel)
    box, line = panel.findChild(QComboBox), panel.findChild(QLineEdit)
    assert box is not None and line is not None
    box.setCurrentIndex(box.findData(kind))
    line.setText(value)
    assert (panel._made() is not None) == can
    assert panel._add.isEnabled() == can


def test_a_call_is_edited_before_and_its_result_after_it_ran(
    qtbot: QtBot, stage: MakeStage
) -> None:
    s = stage(sums)
    conversation(s, qtbot)
    add_breakpoint(s, qtbot, "tool", "calculator")
    add_breakpoint(s, qtbot, "text", "42")
    s.ask("Count.")
    qtbot.waitUntil(lambda: held(s))
    s.click(qtbot, "editHeld")
    dialog = s.dialog(qtbot, "editDialog")
    assert isinstance(dialog, EditDialog)
    dialog.editor.setPlainText("{not json")
    dialog.accept()
    assert dialog.isVisible()
    dialog.editor.setPlainText('{"expression": "6*7"}')
    dialog.accept()
    qtbot.waitUntil(lambda: s.turn.steps[0].tools[0].arguments == '{"expression": "6*7"}')
    s.click(qtbot, "continueHeld")
    qtbot.waitUntil(lambda: held(s) and s.turn.paused is not None
                    and s.turn.paused.where == "result")  # fmt: skip
    assert s.turn.steps[0].tools[0].result.endswith("42")
    choose(menu(s, s.turn.steps[0].tools[0].call), "editResult")
    dialog = s.dialog(qtbot, "editDialog")
    assert isinstance(dialog, EditDialog)
    dialog.editor.setPlainText("forty-two")
    dialog.accept()
    qtbot.waitUntil(lambda: s.turn.steps[0].tools[0].result == "forty-two")
    # So is the reasoning of a finished reply while the run is held.
    choose(menu(s, s.turn.steps[0].parts[0].id), "editReasoning")
    dialog = s.dialog(qtbot, "editDialog")
    assert isinstance(dialog, EditDialog)
    assert dialog.editor.toPlainText() == "thought 0"
    dialog.editor.setPlainText("a better thought")
    dialog.accept()
    qtbot.waitUntil(lambda: s.turn.steps[0].reasoning == "a better thought")
    qtbot.waitUntil(lambda: s.window.steering._status.held != ())
    s.core.set_breakpoints(s.bridge.state.id, ()).result()
    s.click(qtbot, "continueHeld")
    qtbot.waitUntil(s.ended)
    told = s.model.requests[1].messages
    assert told[-1].content == "forty-two"
    assert told[-2].reasoning_content == "a better thought"
    assert told[-2].tool_calls[0].function.arguments == '{"expression": "6*7"}'


def test_messages_wait_for_the_next_step_and_can_be_taken_back(
    qtbot: QtBot, stage: MakeStage
) -> None:
    gate = threading.Event()

    async def wait() -> None:
        while not gate.is_set():
            await asyncio.sleep(0.005)

    def model(request: ModelRequest) -> Reply:
        done = sum(m.role == "tool" for m in request.messages)
        if done:
            return Reply(text="Done.")
        return Reply(calls=(("calculator", '{"expression": "1"}'),), pause=wait)

    s = stage(model)
    s.ask("Begin.")
    qtbot.waitUntil(lambda: s.bridge.state.running and bool(s.turn.steps))
    composer = s.window.composer
    qtbot.waitUntil(lambda: "next step" in composer.editor.placeholderText())
    composer.editor.setPlainText("In whole numbers.")
    s.click(qtbot, "send")
    s.ask("Never mind this.")
    chips = lambda: [c for c in s.window.findChildren(Chip) if c.isVisible()]  # noqa: E731
    qtbot.waitUntil(lambda: len(chips()) == 2)
    assert chips()[0].accessibleName() == "Queued: In whole numbers."
    qtbot.mouseClick(s.buttons("removeQueued")[1], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(chips()) == 1)
    gate.set()
    qtbot.waitUntil(s.ended)
    assert chips() == []
    heard = [m.content for m in s.model.requests[-1].messages if m.role == "user"]
    assert heard == ["Begin.", "In whole numbers."]


def test_what_a_stopped_run_did_not_hear_is_written_again(qtbot: QtBot, stage: MakeStage) -> None:
    async def wait() -> None:
        await asyncio.sleep(60)

    s = stage(lambda request: Reply(text="Never said.", pause=wait))
    s.ask("Begin.")
    qtbot.waitUntil(lambda: s.bridge.state.running and bool(s.turn.steps))
    composer = s.window.composer
    qtbot.waitUntil(lambda: "next step" in composer.editor.placeholderText())
    s.ask("In whole numbers.")
    chips = lambda: [c for c in s.window.findChildren(Chip) if c.isVisible()]  # noqa: E731
    qtbot.waitUntil(lambda: len(chips()) == 1)
    s.press("stop")
    qtbot.waitUntil(s.ended)
    qtbot.waitUntil(
        lambda: [c.accessibleName() for c in chips()] == ["Not heard: In whole numbers."]
    )
    composer.editor.setPlainText("Try once more.")
    s.click(qtbot, "writeAgain")
    assert composer.editor.toPlainText() == "Try once more.\n\nIn whole numbers."
    assert chips() == []


def test_reasoning_is_changed_while_it_is_written(qtbot: QtBot, stage: MakeStage) -> None:
    async def slowly() -> None:
        await asyncio.sleep(0.03)

    def model(request: ModelRequest) -> Reply:
        if any("Go on from it" in (m.content or "") for m in request.messages):
            return Reply(text="North it is.")
        return Reply("the south wing, of course " * 40, "South.", pause=slowly)

    s = stage(model)
    s.ask("Which wing?")
    qtbot.waitUntil(lambda: s.bridge.state.running and bool(s.turn.steps and s.turn.steps[0].parts))
    choose(menu(s, s.turn.steps[0].parts[0].id), "editReasoning")
    dialog = s.dialog(qtbot, "editDialog")
    assert isinstance(dialog, EditDialog)
    dialog.editor.setPlainText("the north wing")
    dialog.accept()
    qtbot.waitUntil(s.ended)
    assert s.turn.answer == "North it is."
    assert "the north wing" in repr(s.model.requests[-1].messages)


def test_pause_by_key_and_stop_from_the_bar(qtbot: QtBot, stage: MakeStage) -> None:
    gate = threading.Event()

    async def wait() -> None:
        while not gate.is_set():
            await asyncio.sleep(0.005)

    s = stage(lambda r: Reply("hm", calls=(("calculator", '{"expression": "1"}'),), pause=wait))
    s.ask("Begin.")
    qtbot.waitUntil(lambda: s.bridge.state.running and bool(s.turn.steps))
    pause = s.window.findChild(QAction, "pauseRun")
    assert isinstance(pause, QAction)
    qtbot.waitUntil(pause.isEnabled)
    s.press("pauseRun")
    where = s.window.findChild(QLabel, "heldWhere")
    assert where is not None
    qtbot.waitUntil(lambda: where.text() == "Pausing at the next place…")
    gate.set()
    qtbot.waitUntil(lambda: where.text() == "Paused before the call")
    s.click(qtbot, "stopHeld")
    qtbot.waitUntil(s.ended)
    assert s.turn.status == "stopped"


def test_fork_and_run_again_with_other_settings(qtbot: QtBot, stage: MakeStage) -> None:
    s = stage(sums)
    s.ask("Count.")
    qtbot.waitUntil(s.ended)
    first = s.turn
    # After the second step, paused: its result can be changed before the model goes on.
    choose(menu(s, first.steps[1].span), "forkPaused")
    qtbot.waitUntil(lambda: s.turn.id != first.id and held(s))
    assert len(s.turn.steps) == 2
    call = s.turn.steps[1].tools[0].call
    choose(menu(s, call), "editResult")
    dialog = s.dialog(qtbot, "editDialog")
    assert isinstance(dialog, EditDialog)
    dialog.editor.setPlainText("20")
    dialog.accept()
    qtbot.waitUntil(lambda: s.turn.steps[1].tools[0].result == "20")
    s.press("pauseRun")
    qtbot.waitUntil(s.ended)
    assert [tool.result for step in s.turn.steps for tool in step.tools] == ["1", "20", "3"]
    assert first in s.bridge.state.turns, "what was forked from is as it was"
    # From the third step again, with another model, temperature and seed.
    second = s.turn
    choose(menu(s, second.steps[2].span), "rerunStepWith")
    rerun = s.dialog(qtbot, "rerunDialog")
    assert isinstance(rerun, RerunDialog)
    rerun.temperature.setText("warm")
    rerun.accept()
    assert rerun.isVisible()
    rerun.temperature.setText("0.4")
    rerun.seed.setText("11")
    rerun.model.setText("other")
    rerun.effort.setCurrentIndex(rerun.effort.findData("fast"))
    rerun.accept()
    qtbot.waitUntil(lambda: s.turn.id not in (first.id, second.id) and s.ended())
    settings = s.turn.settings
    assert (settings.temperature, settings.seed, settings.effort) == (0.4, 11, "fast")
    assert s.model.requests[-1].model == "other" and len(s.turn.steps) == 4
    # And the whole turn, by the menu's action.
    s.press("rerunWith")
    rerun = s.dialog(qtbot, "rerunDialog")
    assert isinstance(rerun, RerunDialog)
    third = s.turn.id
    rerun.accept()
    qtbot.waitUntil(lambda: s.turn.id != third and s.ended())
    assert s.turn.answer == "The last was 3"
    choose(menu(s, s.turn.steps[1].span), "rerunStep")
    qtbot.waitUntil(lambda: len(s.bridge.state.turns) == 5 and s.ended())


def test_a_line_of_the_trace_becomes_a_breakpoint(qtbot: QtBot, stage: MakeStage) -> None:
    s = stage(sums)
    s.ask("Count.")
    qtbot.waitUntil(s.ended)
    s.window.trace.reveal(s.turn.steps[1].tools[0].call)
    s.press("toggleBreakpoint")
    qtbot.waitUntil(lambda: s.bridge.state.breakpoints == (ev.Breakpoint("tool", "calculator"),))
    made = menu(s, s.turn.steps[1].tools[0].call)
    action = made.findChild(QAction, "breakHere")
    assert action is not None and action.isChecked()
    s.press("toggleBreakpoint")
    qtbot.waitUntil(lambda: s.bridge.state.breakpoints == ())
    s.window.trace.reveal(s.turn.steps[2].span)
    s.press("toggleBreakpoint")
    qtbot.waitUntil(lambda: s.bridge.state.breakpoints == (ev.Breakpoint("step", number=3),))
