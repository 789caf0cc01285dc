"""What the program says about itself."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMessageBox, QWidget

from app.core import Core
from app.terminal.doctor import as_text, diagnose
from ui.actions import ShortcutsDialog

_LOG_LINES = 40


class Help(QObject):
    """Signals: ``said(text)``, for the status line."""

    said = Signal(str)

    def __init__(self, window: QWidget, core: Core) -> None:
        super().__init__(window)
        self._window, self._core = window, core

    def handlers(self) -> dict[str, Callable[[], object]]:
        """Of the actions that belong here."""
        return {
            "shortcuts": lambda: ShortcutsDialog(self._window).open(),
            "copyDiagnostics": self._copy_diagnostics,
            "about": self._about,
        }

    def _copy_diagnostics(self) -> None:
        log = "\n".join(self._core.engine_log()[-_LOG_LINES:])
        QGuiApplication.clipboard().setText(f"{as_text(diagnose(self._core.paths))}\n\n{log}\n")
        self.said.emit(self.tr("Diagnostics copied"))

    def _about(self) -> None:
        box = QMessageBox(self._window)
        box.setObjectName("about")
        box.setWindowTitle(self.tr("About Selenograph"))
        box.setText(f"Selenograph {version('selenograph')}")
        box.setInformativeText(
            self.tr("A workbench and local engine for thinking agents. Apache-2.0.")
        )
        box.open()
