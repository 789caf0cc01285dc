"""The panels beside the chat: trace, context and engine, as tabs of one place."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QDockWidget, QMainWindow, QWidget

_WIDTH = 460
_NARROW = 940
"""Width of the window from which there is room for the list, the chat and a panel."""


class Docks(QObject):
    """Owns the dock widgets of a window; ``gives_way`` is hidden where there is no room."""

    def __init__(self, window: QMainWindow, gives_way: QWidget) -> None:
        super().__init__(window)
        self._window, self._gives_way = window, gives_way
        self._docks: list[QDockWidget] = []

    def add(self, name: str, title: str, content: QWidget) -> QDockWidget:
        """A further tab, hidden at first."""
        dock = QDockWidget(title, self._window)
        dock.setObjectName(name)
        dock.setWidget(content)
        self._window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
        if self._docks:
            self._window.tabifyDockWidget(self._docks[-1], dock)
        dock.hide()
        self._docks.append(dock)
        return dock

    def settle(self) -> None:
        """Give them their width once the window has its size."""
        self._window.resizeDocks(self._docks[:1], [_WIDTH], Qt.Orientation.Horizontal)

    def show(self, dock: QDockWidget) -> None:
        """In front of the others."""
        if dock.isHidden() and self._window.width() < _NARROW:
            self._gives_way.hide()
        dock.show()
        dock.raise_()

    def toggle(self, dock: QDockWidget) -> None:
        """Show it, or hide it."""
        if dock.isHidden():
            self.show(dock)
        else:
            dock.hide()

    def follow(self, dock: QDockWidget, action: QAction, shown: Callable[[], object]) -> None:
        """Keep an action's mark true; ``shown`` is called whenever it comes or goes."""
        dock.visibilityChanged.connect(lambda _=False: action.setChecked(not dock.isHidden()))
        dock.visibilityChanged.connect(lambda _=False: shown())
