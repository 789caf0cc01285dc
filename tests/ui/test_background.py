"""Closing the window while a run goes on, and what the desktop is told."""

from __future__ import annotations

from typing import Any, cast

import pytest
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QMessageBox, QPushButton, QSystemTrayIcon, QWidget
from pytestqt.qtbot import QtBot

from app import events as ev
from app.events import Event, RunSettings
from app.settings import Settings
from ui.background import Background


class Tray(QObject):
    """The desktop's tray, which an offscreen screen lacks."""

    activated = Signal(object)
    messageClicked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, str]] = []
        self.menu: Any = None

    def setContextMenu(self, menu: Any) -> None:
        self.menu = menu

    def setToolTip(self, text: str) -> None:
        pass

    def show(self) -> None:
        pass

    def showMessage(self, title: str, text: str, *_: object) -> None:
        self.said.append((title, text))


class Window(QWidget):
    def closeEvent(self, event: QCloseEvent) -> None:
        event.setAccepted(self.background.leaves() == "close")

    background: Background


class Scene:
    def __init__(self, qtbot: QtBot, tray: Tray | None, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.window = Window()
        qtbot.addWidget(self.window)
        # Its type is Qt's; what is called of it is the same.
        self.background = Background(
            self.window,
            lambda: self.settings,
            lambda id: f"about {id}",
            cast("QSystemTrayIcon | None", tray),
        )
        self.window.background = self.background
        self.window.show()

    def hears(self, body: ev.Body) -> None:
        self.background.hear(Event(1, 0.0, "c", body, run="t"))

    def begins(self) -> None:
        self.hears(ev.TurnBegin("t", None, "go", RunSettings()))


@pytest.fixture
def tray(monkeypatch: pytest.MonkeyPatch) -> Tray:
    monkeypatch.setattr(QSystemTrayIcon, "supportsMessages", lambda: True)
    return Tray()


def test_a_window_without_a_run_closes(qtbot: QtBot, tray: Tray) -> None:
    scene = Scene(qtbot, tray, on_close="keep")
    scene.begins()
    scene.hears(ev.TurnEnd("t", "answered", "12"))
    assert not scene.background.running
    assert scene.window.close()


def test_a_run_goes_on_in_the_tray_and_says_when_it_asks_and_ends(qtbot: QtBot, tray: Tray) -> None:
    scene = Scene(qtbot, tray, on_close="keep")
    scene.begins()
    assert not scene.window.close()
    assert scene.window.isHidden()
    tray.said.clear()
    scene.hears(ev.ApprovalAsked("call", "may it?"))
    scene.hears(ev.TurnEnd("t", "answered", "12"))
    assert tray.said == [
        ("about c", "It asks whether a tool may run."), ("about c", "The answer is there."),
    ]  # fmt: skip
    with qtbot.waitSignal(scene.background.opened) as opened:
        tray.messageClicked.emit()
    assert opened.args == ["c"] and scene.window.isVisible()
    assert scene.window.close(), "nothing runs any more"


def test_who_wants_silence_gets_it(qtbot: QtBot, tray: Tray) -> None:
    scene = Scene(qtbot, tray, notify=False)
    scene.begins()
    scene.hears(ev.TurnEnd("t", "failed"))
    assert tray.said == []
    scene = Scene(qtbot, tray)
    scene.begins()
    scene.hears(ev.TurnEnd("t", "stopped"))
    assert tray.said == [], "who stopped it knows"


@pytest.mark.parametrize("choice", ["keepRunning", "stopAndQuit", "cancel"])
def test_without_a_tray_a_person_is_asked(qtbot: QtBot, choice: str) -> None:
    scene = Scene(qtbot, None)
    scene.begins()
    assert not scene.window.close()
    (box,) = scene.window.findChildren(QMessageBox)
    assert box.isVisible()
    if choice == "cancel":
        box.reject()
        assert scene.window.isVisible() and not scene.window.isMinimized()
        return
    (button,) = box.findChildren(QPushButton, choice)
    button.click()
    assert scene.window.isMinimized() == (choice == "keepRunning")
    assert scene.window.isHidden() == (choice == "stopAndQuit")


def test_who_said_stop_is_not_asked(qtbot: QtBot) -> None:
    scene = Scene(qtbot, None, on_close="stop")
    scene.begins()
    assert scene.window.close()


def test_the_trays_menu_quits_for_good(qtbot: QtBot, tray: Tray) -> None:
    scene = Scene(qtbot, tray, on_close="keep")
    scene.begins()
    scene.window.close()
    show, leave = tray.menu.actions()
    show.trigger()
    assert scene.window.isVisible()
    leave.trigger()
    assert scene.window.isHidden() and scene.background.leaves() == "close"
