"""The panels beside the chat: in front, behind, and where there is little room."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QDockWidget, QWidget
from pytestqt.qtbot import QtBot

from app.backends.scripted import Reply
from tests.ui.parts import part
from tests.ui.stage import MakeStage, Stage


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    return make_stage(lambda request: Reply(text="x"))


def action(s: Stage, name: str) -> QAction:
    found = s.window.findChild(QAction, name)
    assert found is not None
    return found


def in_front(panel: QWidget) -> bool:
    """A panel behind another is none the less visible to Qt."""
    return panel.isVisible() and not panel.visibleRegion().isEmpty()


def test_the_one_behind_comes_to_the_front(qtbot: QtBot, stage: Stage) -> None:
    s = stage
    s.press("showTrace")
    s.press("showContext")
    qtbot.waitUntil(lambda: in_front(s.window.context))
    assert not in_front(s.window.trace) and action(s, "showTrace").isChecked()
    s.press("showTrace")
    qtbot.waitUntil(lambda: in_front(s.window.trace))
    assert action(s, "showContext").isChecked()
    s.press("showTrace")
    qtbot.waitUntil(lambda: in_front(s.window.context))
    assert part(s.window, QDockWidget, "traceDock").isHidden()
    assert not action(s, "showTrace").isChecked()


def test_the_list_gives_way_and_comes_back(qtbot: QtBot, stage: Stage) -> None:
    s, shown = stage, action(stage, "showSidebar")
    assert s.window.sidebar.isVisible() and shown.isChecked()
    s.press("showTrace")
    assert s.window.sidebar.isVisible()
    s.window.resize(700, 700)
    qtbot.waitUntil(s.window.sidebar.isHidden)
    assert not shown.isChecked()
    qtbot.waitUntil(lambda: s.window.chat.width() + s.window.trace.width() <= 700)
    s.window.resize(1200, 700)
    qtbot.waitUntil(s.window.sidebar.isVisible)
    assert shown.isChecked()
    s.window.resize(700, 700)
    qtbot.waitUntil(s.window.sidebar.isHidden)
    s.press("showTrace")
    qtbot.waitUntil(s.window.sidebar.isVisible)
    s.press("showSidebar")
    assert s.window.sidebar.isHidden() and not shown.isChecked()
    s.window.resize(1200, 700)
    s.press("showTrace")
    assert s.window.sidebar.isHidden(), "a person hid it"
