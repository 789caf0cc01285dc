"""The real window over the real core, with a model that says what a test wants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QAbstractButton, QApplication, QWidget
from pytestqt.qtbot import QtBot

from app import events as ev
from app.agent.patience import Patience
from app.backends.base import ModelRequest
from app.backends.scripted import Reply, ScriptedBackend
from app.core import Core
from app.paths import Paths
from app.settings import Settings
from app.state import Turn
from ui.bridge import Bridge
from ui.chat.lanes import LaneCard
from ui.main_window import MainWindow
from ui.settings.window import SettingsDialog
from ui.theme import ThemeSource

MakeStage = Callable[..., "Stage"]


class Stage:
    """Owns all of it; :meth:`close` frees it."""

    def __init__(
        self,
        folder: Path,
        app: QApplication,
        model: Callable[[ModelRequest], Reply] | None,
        run: ev.RunSettings,
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> None:
        """``model`` None: our own engine, which is started when it is needed."""
        self._scripted = ScriptedBackend(model) if model else None
        self.core = Core(Paths.under(folder), Settings(run=run), self._scripted, patience)
        self.core.start()
        self.bridge = Bridge(self.core)
        self.window = MainWindow(self.bridge, ThemeSource(app, "light"))
        self.window.show()

    @property
    def model(self) -> ScriptedBackend:
        assert self._scripted is not None, "an engine answers here"
        return self._scripted

    @property
    def turn(self) -> Turn:
        return self.bridge.state.path()[-1]

    def ended(self) -> bool:
        """Whether something was asked and nothing runs."""
        return bool(self.bridge.state.turns) and not self.bridge.state.running

    def ask(self, text: str) -> None:
        """Type and send."""
        self.window.composer.editor.setPlainText(text)
        self.window.composer.submit()

    def cards(self) -> list[LaneCard]:
        return [c for c in self.window.findChildren(LaneCard) if c.isVisible()]

    def buttons(self, name: str) -> list[QAbstractButton]:
        return [b for b in self.window.findChildren(QAbstractButton, name) if b.isVisible()]

    def click(self, qtbot: QtBot, name: str) -> None:
        """The visible button of a name, once there is one that can be pressed."""
        qtbot.waitUntil(lambda: any(b.isEnabled() for b in self.buttons(name)))
        found = next(b for b in self.buttons(name) if b.isEnabled())
        qtbot.mouseClick(found, Qt.MouseButton.LeftButton)

    def press(self, name: str) -> None:
        """An action, as its key or menu line does."""
        action = self.window.findChild(QAction, name)
        assert action is not None and action.isEnabled(), name
        action.trigger()

    def dialog(self, qtbot: QtBot, name: str) -> QWidget:
        """The open dialog of a name."""

        def found() -> list[QWidget]:
            return [w for w in self.window.findChildren(QWidget, name) if w.isVisible()]

        qtbot.waitUntil(lambda: bool(found()))
        return found()[0]

    def settings(self, qtbot: QtBot, page: str = "endpoints") -> SettingsDialog:
        """Open them, at a page."""
        self.press("settings")
        found = self.dialog(qtbot, "settingsDialog")
        assert isinstance(found, SettingsDialog)
        found.show_page(getattr(found, page))
        return found

    def close(self) -> None:
        self.window.background.leave()
        self.bridge.close()
        self.window.deleteLater()
        self.core.close()


def sums(request: ModelRequest) -> Reply:
    """Adds one in each of three steps, then answers."""
    done = sum(m.role == "tool" for m in request.messages)
    if done == 3:
        return Reply("that is all", "The last was " + (request.messages[-1].content or ""))
    return Reply(f"thought {done}", calls=(("calculator", f'{{"expression": "{done}+1"}}'),))
