"""A run that waits for its endpoint, as the window shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLabel, QPushButton
from pytestqt.qtbot import QtBot

from app import events as ev
from app.agent.patience import Patience
from app.backends.base import ModelRequest
from app.backends.scripted import Reply
from app.errors import BackendError
from tests.ui.stage import Stage

GONE = BackendError("unreachable", "scripted: connection refused", retryable=True)
SELDOM = Patience(attempts=1, first_look=50.0)


@pytest.fixture
def stage(qtbot: QtBot, qapp: QApplication, tmp_path: Path) -> Iterator[Stage]:
    """Its model is away until ``model.away`` is None."""

    def reply(request: ModelRequest) -> Reply:
        away = made.model.away
        return Reply("half a th", error=away) if away else Reply("so it is", "Here I am.")

    made = Stage(tmp_path, qapp, reply, ev.RunSettings(tools=()), SELDOM)
    made.model.away = GONE
    qtbot.waitExposed(made.window)
    yield made
    made.close()


def waits(s: Stage) -> bool:
    return bool(s.bridge.state.turns) and s.turn.away is not None


def label(s: Stage, name: str) -> str:
    found = s.window.findChild(QLabel, name)
    assert found is not None
    return found.text()


def test_it_says_what_it_waits_for_and_tries_by_key(qtbot: QtBot, stage: Stage) -> None:
    s = stage
    s.ask("Are you there?")
    qtbot.waitUntil(lambda: waits(s))
    where = s.window.findChild(QLabel, "heldWhere")
    assert where is not None
    qtbot.waitUntil(lambda: where.toolTip().startswith("Waiting for scripted · next try in"))
    assert where.toolTip().endswith("· connection refused")
    first = where.toolTip()
    qtbot.waitUntil(lambda: where.toolTip() != first)  # it counts down
    assert "waiting for the endpoint" in label(s, "statusStep")
    go = s.window.findChild(QPushButton, "continueHeld")
    step = s.window.findChild(QPushButton, "stepHeld")
    assert go is not None and step is not None
    assert go.text() == "Try now" and not step.isVisible()
    tried = s.model.probes
    s.window.activateWindow()
    qtbot.keyClick(s.window, Qt.Key.Key_F8)
    qtbot.waitUntil(lambda: s.model.probes > tried and waits(s))  # in vain
    s.model.away = None
    s.click(qtbot, "continueHeld")
    qtbot.waitUntil(lambda: s.turn.answer == "Here I am.")
    assert not s.window.steering.bar.isVisible()
    assert label(s, "statusStep") == ""


def test_stop_while_it_waits(qtbot: QtBot, stage: Stage) -> None:
    s = stage
    s.ask("Are you there?")
    qtbot.waitUntil(lambda: waits(s))
    s.click(qtbot, "stopHeld")
    qtbot.waitUntil(lambda: s.turn.status == "stopped")
    assert not s.window.steering.bar.isVisible()
    s.model.away = None
    s.click(qtbot, "continueRun")
    qtbot.waitUntil(lambda: s.turn.answer == "Here I am.")
