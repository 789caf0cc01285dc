"""Runs that go on while nobody looks: what closing the window means, tray and notifications."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QAction, QIcon
from PySide6.QtWidgets import QApplication, QMenu, QMessageBox, QSystemTrayIcon, QWidget

from app import events as ev
from app.events import Event
from app.settings import Settings

_SHOWN_MS = 10_000

Leaving = Literal["close", "stay"]


class Background(QObject):
    """Signals: ``opened(conversation)`` when a notification was clicked."""

    opened = Signal(str)

    def __init__(
        self,
        window: QWidget,
        settings: Callable[[], Settings],
        title_of: Callable[[str], str],
        tray: QSystemTrayIcon | None = None,
    ) -> None:
        """``tray``: used where the desktop has a place for it; None: there is none."""
        super().__init__(window)
        self._window, self._settings, self._title_of = window, settings, title_of
        self._running: set[tuple[str, str]] = set()
        self._told_of = ""
        self._leaving = False
        self._tray = tray
        if tray is not None:
            self._fill(tray)

    @property
    def running(self) -> bool:
        """Whether a run goes on in any conversation."""
        return bool(self._running)

    def hear(self, event: Event) -> None:
        """Take an event of any conversation."""
        body = event.body
        if isinstance(body, ev.TurnBegin | ev.TurnResumed):
            self._running.add((event.conversation, body.turn))
        elif isinstance(body, ev.TurnEnd):
            known = (event.conversation, body.turn) in self._running
            self._running.discard((event.conversation, body.turn))
            if known and body.status != "stopped":
                self._notify(event.conversation, self._ending(body))
        elif isinstance(body, ev.ApprovalAsked):
            self._notify(event.conversation, self.tr("It asks whether a tool may run."))
        elif isinstance(body, ev.FormAsked):
            self._notify(event.conversation, f"{body.server}: {body.message[:200]}")
        elif isinstance(body, ev.Paused):
            self._notify(event.conversation, self.tr("The run is paused: ") + body.reason)
        elif isinstance(body, ev.EndpointLost):
            waits = self.tr("The run waits for {name} to answer again.")
            self._notify(event.conversation, waits.format(name=body.endpoint))

    def leaves(self) -> Leaving:
        """What becomes of a window that is asked to close."""
        app = QApplication.instance()
        saving = isinstance(app, QApplication) and app.isSavingSession()
        if self._leaving or saving or not self.running or self._settings().on_close == "stop":
            return "close"
        if self._tray is not None and self._settings().on_close == "keep":
            self._window.hide()
            self._say("", self.tr("Selenograph goes on in the background."))
        else:
            self._ask()
        return "stay"

    def leave(self) -> None:
        """Close for good; runs that go on are stopped and can be resumed."""
        self._leaving = True
        self._window.close()

    def come_back(self) -> None:
        """Show the window again."""
        self._window.showNormal() if self._window.isMinimized() else self._window.show()
        self._window.raise_()
        self._window.activateWindow()

    # -- inside -------------------------------------------------------------------------------

    def _fill(self, tray: QSystemTrayIcon) -> None:
        menu = QMenu(self._window)
        show, leave = QAction(self.tr("Show"), menu), QAction(self.tr("Quit"), menu)
        show.triggered.connect(self.come_back)
        leave.triggered.connect(self.leave)
        menu.addActions([show, leave])
        tray.setContextMenu(menu)
        tray.setToolTip("Selenograph")
        tray.activated.connect(self._clicked)
        tray.messageClicked.connect(self._open_told)
        tray.show()

    def _clicked(self, reason: QSystemTrayIcon.ActivationReason) -> None:
        if reason == QSystemTrayIcon.ActivationReason.Trigger:
            self.come_back()

    def _open_told(self) -> None:
        self.come_back()
        if self._told_of:
            self.opened.emit(self._told_of)

    def _ending(self, end: ev.TurnEnd) -> str:
        words = {
            "answered": self.tr("The answer is there."),
            "budget": self.tr("It reached a limit and answered from what was there."),
        }
        return words.get(end.status, self.tr("The run failed; it can be resumed."))

    def _notify(self, conversation: str, text: str) -> None:
        if self._window.isActiveWindow() or not self._settings().notify:
            return
        QApplication.alert(self._window)
        self._say(conversation, text)

    def _say(self, conversation: str, text: str) -> None:
        if self._tray is not None and QSystemTrayIcon.supportsMessages():
            self._told_of = conversation
            title = self._title_of(conversation) or "Selenograph"
            self._tray.showMessage(title, text, QSystemTrayIcon.MessageIcon.Information, _SHOWN_MS)

    def _ask(self) -> None:
        box = QMessageBox(self._window)
        box.setObjectName("closing")
        box.setIcon(QMessageBox.Icon.Question)
        box.setText(self.tr("A run is going on."))
        box.setInformativeText(
            self.tr("What was finished is kept either way, and a stopped run can be resumed.")
        )
        roles = QMessageBox.ButtonRole
        place = self.tr("in the background") if self._tray is not None else self.tr("minimised")
        keep = box.addButton(self.tr("Keep running, ") + place, roles.AcceptRole)
        stop = box.addButton(self.tr("Stop and quit"), roles.DestructiveRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        keep.setObjectName("keepRunning")
        stop.setObjectName("stopAndQuit")
        box.setDefaultButton(keep)
        hide = self._window.hide if self._tray is not None else self._window.showMinimized
        keep.clicked.connect(hide)
        stop.clicked.connect(self.leave)
        box.open()


def tray_of_desktop(icon: QIcon, parent: QObject) -> QSystemTrayIcon | None:
    """None where the desktop has no place for it."""
    if not QSystemTrayIcon.isSystemTrayAvailable():
        return None
    return QSystemTrayIcon(icon, parent)
