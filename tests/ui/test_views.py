"""The chat and the trace with recorded runs: what is shown, and that it stays quick and quiet."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app.state import ConversationState, fold, fold_all
from tests.ui import recordings
from tests.ui.recordings import Recording
from ui.chat.approval_box import Given
from ui.chat.message_rows import WaitWidget
from ui.chat.row_base import ChatActions, RowWidget
from ui.chat.rows import WaitRow
from ui.chat.view import ChatView
from ui.theme import ThemeSource, current
from ui.trace.tree import KEY, TraceModel
from ui.trace.view import TraceView

RECORDINGS: dict[str, Callable[[], Recording]] = {
    "short": recordings.short_chat,
    "rich": recordings.rich_answer,
    "asking": recordings.waiting_for_approval,
    "streaming": recordings.streaming,
    "lost": recordings.engine_lost,
    "steered": recordings.steered,
    "long": recordings.long_run,
}


def names(model: TraceModel, parent: QModelIndex | None = None) -> list[str]:
    """All texts of the tree's first column."""
    found: list[str] = []
    for row in range(model.rowCount(parent)):
        index = model.index(row, 0, parent)
        found.append(str(index.data(Qt.ItemDataRole.DisplayRole)))
        found += names(model, index)
    return found


@pytest.mark.parametrize("choice", ["light", "dark"])
@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recording_is_drawn(qtbot: QtBot, qapp: QApplication, name: str, choice: str) -> None:
    ThemeSource(qapp, "dark" if choice == "dark" else "light")
    state = fold_all(RECORDINGS[name]().events)
    for view in (ChatView(), TraceView()):
        qtbot.addWidget(view)
        view.resize(700, 800)
        view.set_theme(current())
        view.show()
        view.set_state(state)
        qapp.processEvents()
        assert not view.grab().isNull()


def test_the_tree_grows_as_a_fresh_one(qtbot: QtBot) -> None:
    """Event by event in place, and all at once: the same tree."""
    for make in RECORDINGS.values():
        events = make().events[:400]
        view, fresh = TraceView(), TraceView()
        qtbot.addWidget(view)
        qtbot.addWidget(fresh)
        state = ConversationState()
        for event in events:
            state = fold(state, event)
            view.set_state(state)
        fresh.set_state(state)
        assert names(view._model) == names(fresh._model)
        assert len(names(fresh._model)) > len(state.path())


def test_what_the_tabs_show(qtbot: QtBot) -> None:
    view = TraceView()
    qtbot.addWidget(view)
    view.resize(500, 700)
    view.show()
    state = fold_all(recordings.short_chat().events)
    view.set_state(state)
    step = state.path()[-1].steps[0]
    assert step.call is not None
    run = step.tools[0]
    view.reveal(run.call)
    assert view.details.current == "tool"
    assert run.result in view.details.page.full
    view.reveal(f"{step.span}/prompt")
    assert view.details.current == "prompt"
    assert view.details.page.full
    view.details.show_page("messages")
    assert '"role": "user"' in view.details.page.full
    view.details.copy()
    assert QApplication.clipboard().text() == view.details.page.full
    with qtbot.waitSignal(view.selected) as caught:
        view.tree.setCurrentIndex(view._model.find(run.call))
    assert caught.args == [run.call]
    assert view.tree.currentIndex().data(KEY) == run.call


def test_three_hundred_steps_stay_quick(qtbot: QtBot) -> None:
    """A further event costs a frame at most on any machine that can show one."""
    recording = recordings.long_run()
    state = fold_all(recording.events[:-1])
    view = TraceView()
    qtbot.addWidget(view)
    view.show()
    view.set_state(state)
    assert sum(len(turn.steps) for turn in state.turns) >= 300
    began = time.perf_counter()
    view.set_state(fold(state, recording.events[-1]))
    assert time.perf_counter() - began < 0.5


def test_approval_and_examples(qtbot: QtBot) -> None:
    view = ChatView()
    qtbot.addWidget(view)
    view.resize(800, 700)
    view.show()
    with qtbot.waitSignal(view.examplePicked) as picked:
        qtbot.mouseClick(view.findChild(QAbstractButton, "example0"), Qt.MouseButton.LeftButton)
    assert picked.args is not None
    assert "17*23" in picked.args[0]
    state = fold_all(recordings.waiting_for_approval().events)
    view.set_state(state)
    runs = [run for turn in state.turns for step in turn.steps for run in step.tools]
    waiting = next(run for run in runs if run.waiting)

    def shown() -> list[QAbstractButton]:
        return [b for b in view.findChildren(QAbstractButton, "allowOnce") if b.isVisible()]

    qtbot.waitUntil(lambda: bool(shown()))
    with qtbot.waitSignal(view.decided) as decided:
        qtbot.mouseClick(shown()[0], Qt.MouseButton.LeftButton)
    assert decided.args is not None
    assert decided.args == [Given(waiting.call, "once")]


@pytest.mark.parametrize("name", ["short", "rich", "asking", "lost"])
def test_rows_are_as_high_as_fresh_ones(qtbot: QtBot, qapp: QApplication, name: str) -> None:
    """Rows that opened, asked and closed while a run went on leave no empty space behind."""
    live, fresh = ChatView(), ChatView()
    for view in (live, fresh):
        qtbot.addWidget(view)
        view.resize(800, 2400)
        view.show()
    state = ConversationState()
    for event in RECORDINGS[name]().events:
        state = fold(state, event)
        live.set_state(state)
        qapp.processEvents()
    fresh.set_state(state)
    qapp.processEvents()
    keys = list(fresh._list._live)
    assert keys
    heights = {key: live._list._heights.get(key) for key in keys}
    assert heights == {key: fresh._list._heights[key] for key in keys}


def test_tab_goes_through_the_rows_as_they_stand(qtbot: QtBot) -> None:
    """Also after widgets were used for other rows, and with what is not in view yet."""
    window = QWidget()
    view, before, after = ChatView(), QPushButton("before"), QPushButton("after")
    column = QVBoxLayout(window)
    for widget in (before, view, after):
        column.addWidget(widget)
    qtbot.addWidget(window)
    window.resize(600, 400)
    window.show()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    view.set_state(fold_all(recordings.rich_answer().events))
    rows = view._list
    for place in (0, rows.verticalScrollBar().maximum(), 0):
        rows.verticalScrollBar().setValue(place)

    def place_of(widget: QWidget) -> int:
        y = widget.mapTo(rows.viewport(), widget.rect().center()).y()
        assert 0 <= y <= rows.viewport().height(), "it is seen"
        row = widget
        while not isinstance(row, RowWidget):
            row = row.parentWidget()
        return row.y() + rows.verticalScrollBar().value()

    def go(forward: bool) -> list[int]:
        """From the list's one end to what is beyond the other."""
        places: list[int] = []
        while (now := QApplication.focusWidget()) is rows or rows.isAncestorOf(now or before):
            assert now is not None and len(places) < 200
            if now is not rows:
                places.append(place_of(now))
            qtbot.keyClick(now, Qt.Key.Key_Tab if forward else Qt.Key.Key_Backtab)
        return places

    rows.setFocus()
    down = go(forward=True)
    assert QApplication.focusWidget() is after
    assert len(down) > 8 and down == sorted(down)
    assert rows.verticalScrollBar().value() > 0
    footers = [w for w in rows.findChildren(QAbstractButton, "regenerate") if w.isVisible()]
    footers[-1].setFocus()
    up = go(forward=False)
    latest = view.findChild(QPushButton, "jumpToLatest")
    assert QApplication.focusWidget() is latest, "which stands before the rows"
    assert up == down[::-1]


def test_every_line_of_the_trace_is_about_something(qtbot: QtBot) -> None:
    view = TraceView()
    qtbot.addWidget(view)
    for make in (recordings.steered, recordings.rich_answer, recordings.engine_lost):
        view.set_state(fold_all(make().events))
        for item in view._model._root.walk():
            turn, step, run = view.about(item.node.key)
            assert turn is not None, item.node.key
            assert (step is None) == (item.node.kind == "turn")
            assert run is None or item.node.kind == "tool"
    assert view.about("") == view.about("nothing") == (None, None, None)


def test_the_words_of_a_long_wait_have_room(qtbot: QtBot, qapp: QApplication) -> None:
    ThemeSource(qapp, "light")
    holder = QWidget()
    qtbot.addWidget(holder)
    row = WaitWidget(ChatActions(), holder)
    row.setGeometry(0, 0, 500, 40)  # as the list places it
    holder.show()
    row.bind(WaitRow("a", 123_456, 262_144, 3_725.0), current(), False)
    qtbot.wait(10)
    words = row.findChild(QLabel)
    assert isinstance(words, QLabel) and words.text().endswith("about 1 h 02 min left")
    assert words.width() >= words.sizeHint().width()
    bar = row.findChild(QProgressBar)
    assert isinstance(bar, QProgressBar) and bar.width() >= 48
