"""A run that waits for its endpoint, as the window shows it."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QPushButton
from pytestqt.qtbot import QtBot

from app.agent.patience import Patience
from app.backends.base import ModelRequest
from app.backends.scripted import Reply
from app.errors import BackendError
from tests.ui.parts import text
from tests.ui.stage import MakeStage, Stage

GONE = BackendError("unreachable", "scripted: connection refused", retryable=True)
SELDOM = Patience(attempts=1, first_look=50.0)


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    """Its model is away until ``model.away`` is None."""

    def reply(request: ModelRequest) -> Reply:
        away = made.model.away
        return Reply("half a th", error=away) if away else Reply("so it is", "Here I am.")

    made = make_stage(reply, patience=SELDOM)
    made.model.away = GONE
    return made


def waits(s: Stage) -> bool:
    return bool(s.bridge.state.turns) and s.turn.away is not None


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
    assert "waiting for the endpoint" in text(s.window, "statusStep")
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
    assert text(s.window, "statusStep") == ""


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
