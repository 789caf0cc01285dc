"""One sitting at the window, from the first question to finding everything there again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QLabel, QWidget
from pytestqt.qtbot import QtBot

from app.settings import Settings
from app.state import ConversationState, Turn, fold_all
from tests.e2e.conftest import Desk
from tests.e2e.engine_process import write_reciting

LONG = 60_000


def button(desk: Desk, name: str) -> QAbstractButton:
    """The visible button of a name, the lowest where the chat shows several."""
    found = [b for b in desk.window.findChildren(QAbstractButton, name) if b.isVisible()]
    assert found, f"no button {name} is visible"
    return max(found, key=lambda b: b.mapToGlobal(b.rect().topLeft()).y())


def has_button(desk: Desk, name: str) -> bool:
    return any(b.isVisible() for b in desk.window.findChildren(QAbstractButton, name))


def click(qtbot: QtBot, desk: Desk, name: str) -> None:
    qtbot.mouseClick(button(desk, name), Qt.MouseButton.LeftButton)


def ask(qtbot: QtBot, desk: Desk, text: str) -> None:
    """Type and press Enter."""
    editor = desk.window.composer.editor
    editor.setFocus()
    qtbot.keyClicks(editor, text)
    qtbot.keyClick(editor, Qt.Key.Key_Return)


def last(desk: Desk) -> Turn | None:
    path = desk.bridge.state.path()
    return path[-1] if path else None


def ended(desk: Desk, count: int) -> Callable[[], bool]:
    """Whether so many turns are shown and the last has ended."""
    return lambda: len(desk.bridge.state.path()) == count and not desk.bridge.state.running


def visible_text(widget: QWidget) -> str:
    return " ".join(w.text() for w in widget.findChildren(QLabel) if w.isVisible())


@pytest.fixture
def desk(open_window: Callable[[], Desk], qtbot: QtBot) -> Desk:
    made = open_window()
    qtbot.waitUntil(lambda: made.bridge.engine.phase == "ready", timeout=LONG)
    return made


def test_a_sitting(desk: Desk, qtbot: QtBot, open_window: Callable[[], Desk]) -> None:
    # A question: the calculator is called, the answer comes.
    ask(qtbot, desk, "What is 17*23 + 4? Use the calculator.")
    qtbot.waitUntil(ended(desk, 1), timeout=LONG)
    turn = last(desk)
    assert turn is not None
    assert turn.status == "answered"
    assert "395" in turn.answer
    assert [tool.result for step in turn.steps for tool in step.tools] == ["395"]

    # The trace shows the same run, with the prompt as the model read it.
    desk.window.activateWindow()
    qtbot.waitUntil(desk.window.isActiveWindow)
    qtbot.keyClick(desk.window, Qt.Key.Key_T, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(desk.window.trace.isVisible)
    assert turn.steps[0].call is not None
    assert "<|im_user|>" in turn.steps[0].call.prompt

    # Python asks first; it runs when it is allowed.
    ask(qtbot, desk, "What is the mean of 12, 7, 30 and 11? Use Python.")
    qtbot.waitUntil(lambda: has_button(desk, "allowOnce"), timeout=LONG)
    click(qtbot, desk, "allowOnce")
    qtbot.waitUntil(ended(desk, 2), timeout=LONG)
    turn = last(desk)
    assert turn is not None
    tools = [tool for step in turn.steps for tool in step.tools if tool.name == "python"]
    assert tools[0].status == "ok"
    assert "15" in turn.answer

    # Stop in mid-reply.
    def stop(state: ConversationState) -> None:
        steps = state.path()[-1].steps if len(state.path()) == 3 else ()
        begun = any(part.text for step in steps for part in step.parts)
        if state.running and begun and has_button(desk, "stop"):
            desk.bridge.state_changed.disconnect(stop)
            click(qtbot, desk, "stop")

    desk.bridge.state_changed.connect(stop)
    ask(qtbot, desk, "How much is 15% of 240?")
    qtbot.waitUntil(ended(desk, 3), timeout=LONG)
    turn = last(desk)
    assert turn is not None
    assert turn.status == "stopped"
    assert turn.steps[0].parts[0].text, "what was thought before the stop is kept"

    # The engine dies under a run: a clear message, and one click brings it back.
    assert desk.bridge.engine.status is not None
    pid = desk.bridge.engine.status.pid

    def kill(state: ConversationState) -> None:
        # As soon as the run has begun: the model may be done with a thought between two frames.
        if len(state.path()) == 4 and state.running:
            desk.bridge.state_changed.disconnect(kill)
            os.kill(pid, signal.SIGKILL)

    desk.bridge.state_changed.connect(kill)
    ask(qtbot, desk, "What is 12.5 * 48? Use the calculator.")
    qtbot.waitUntil(lambda: has_button(desk, "restartEngineBanner"), timeout=LONG)
    qtbot.waitUntil(ended(desk, 4), timeout=LONG)
    turn = last(desk)
    assert turn is not None
    assert turn.status == "failed"
    assert desk.bridge.engine.signal == "SIGKILL"
    assert "SIGKILL" in visible_text(desk.window.banners)
    click(qtbot, desk, "restartEngineBanner")
    qtbot.waitUntil(lambda: desk.bridge.engine.phase == "ready", timeout=LONG)
    assert not has_button(desk, "restartEngineBanner")
    qtbot.waitUntil(lambda: has_button(desk, "continueRun"), timeout=LONG)
    click(qtbot, desk, "continueRun")
    qtbot.waitUntil(lambda: (last(desk) or turn).status == "answered", timeout=LONG)
    assert "600" in (last(desk) or turn).answer

    # Close and open: the same conversation, folded from what is stored.
    shown = desk.bridge.state
    desk.close()
    again = open_window()
    qtbot.waitUntil(lambda: again.bridge.state.id == shown.id, timeout=LONG)
    assert again.bridge.state.turns == shown.turns
    stored = fold_all(again.core.events(shown.id).result())
    assert stored.turns == shown.turns
    assert replace(stored, updated=0) == replace(again.bridge.state, updated=0)


def test_reasoning_grows_while_it_is_shown_and_stays_when_stopped(
    open_window: Callable[..., Desk], qtbot: QtBot, tmp_path: Path
) -> None:
    # The embedded model may be done with a thought between two frames; this one never is.
    thought = "<think> think what the question"
    model = write_reciting(tmp_path / "endless", thought, loop_from=1)
    desk = open_window(Settings(model=str(model)))
    qtbot.waitUntil(lambda: desk.bridge.engine.phase == "ready", timeout=LONG)
    lengths: set[int] = set()

    def watch(state: ConversationState) -> None:
        steps = state.path()[-1].steps if state.path() else ()
        lengths.update(len(part.text) for step in steps for part in step.parts)

    desk.bridge.state_changed.connect(watch)
    ask(qtbot, desk, "How long does it take?")
    qtbot.waitUntil(lambda: len(lengths) > 5, timeout=LONG)
    click(qtbot, desk, "stop")
    qtbot.waitUntil(ended(desk, 1), timeout=LONG)
    turn = last(desk)
    assert turn is not None
    assert turn.status == "stopped"
    (part,) = turn.steps[0].parts
    assert part.kind == "reasoning"
    assert len(part.text) >= max(lengths)
    assert "think what the question think what" in part.text


def test_delete_and_undo(desk: Desk, qtbot: QtBot) -> None:
    ask(qtbot, desk, "What is 6*7?")
    qtbot.waitUntil(ended(desk, 1), timeout=LONG)
    id = desk.bridge.state.id
    desk.window.delete_conversation()
    qtbot.waitUntil(lambda: has_button(desk, "undoDelete"), timeout=LONG)
    assert desk.bridge.state.id == ""
    assert desk.core.conversations().result() == ()
    click(qtbot, desk, "undoDelete")
    qtbot.waitUntil(lambda: desk.bridge.state.id == id, timeout=LONG)


def test_closed_in_the_middle_of_a_run(
    desk: Desk, qtbot: QtBot, open_window: Callable[[], Desk]
) -> None:
    ask(qtbot, desk, "What is the mean of 12, 7, 30 and 11? Use Python.")
    qtbot.waitUntil(lambda: has_button(desk, "allowOnce"), timeout=LONG)
    desk.close()
    again = open_window()
    qtbot.waitUntil(lambda: has_button(again, "continueRun"), timeout=LONG)
    turn = last(again)
    assert turn is not None
    assert turn.status == "stopped"
    click(qtbot, again, "continueRun")
    qtbot.waitUntil(lambda: has_button(again, "allowOnce"), timeout=LONG)
    click(qtbot, again, "allowOnce")
    qtbot.waitUntil(lambda: (last(again) or turn).status == "answered", timeout=LONG)
