"""The panels beside the chat: trace, context and engine, as tabs of one place."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QDockWidget, QMainWindow, QWidget

_WIDTH = 460
_NARROW = 940
"""Width of the window from which there is room for the list, the chat and a panel."""
_LEAST, _LEAST_DOCKED = 560, 700
"""The least width of the window: for the chat alone, and for it and a panel."""


class Docks(QObject):
    """Owns the dock widgets of a window; ``gives_way`` is hidden where there is no room."""

    def __init__(self, window: QMainWindow, gives_way: QWidget) -> None:
        super().__init__(window)
        self._window, self._gives_way = window, gives_way
        self._docks: list[QDockWidget] = []
        self._gave_way = False
        window.installEventFilter(self)

    def add(self, name: str, title: str, content: QWidget) -> QDockWidget:
        """A further tab, hidden at first."""
        dock = QDockWidget(title, self._window)
        dock.setObjectName(name)
        dock.setWidget(content)
        self._window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
        if self._docks:
            self._window.tabifyDockWidget(self._docks[-1], dock)
        dock.hide()
        dock.visibilityChanged.connect(lambda _: self._make_room())
        self._docks.append(dock)
        return dock

    def settle(self) -> None:
        """Give them their width once the window has its size."""
        self._window.resizeDocks(self._docks[:1], [_WIDTH], Qt.Orientation.Horizontal)

    def show(self, dock: QDockWidget) -> None:
        """In front of the others."""
        dock.show()
        dock.raise_()

    def toggle(self, dock: QDockWidget) -> None:
        """Show it in front, or hide it where it is there."""
        behind = dock.visibleRegion().isEmpty() and not self._window.visibleRegion().isEmpty()
        if dock.isHidden() or behind:
            self.show(dock)
        else:
            dock.hide()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """The window became narrower."""
        if event.type() == QEvent.Type.Resize and watched is self._window:
            self._make_room()
        return super().eventFilter(watched, event)

    def _make_room(self) -> None:
        """What gives way comes back when there is room again."""
        docked = any(not dock.isHidden() and not dock.isFloating() for dock in self._docks)
        self._window.setMinimumWidth(_LEAST_DOCKED if docked else _LEAST)
        narrow = docked and self._window.width() < _NARROW
        if narrow and not self._gives_way.isHidden():
            self._gives_way.hide()
            self._gave_way = True
        elif not narrow and self._gave_way:
            self._gave_way = False
            self._gives_way.show()

    def follow(self, dock: QDockWidget, action: QAction, shown: Callable[[], object]) -> None:
        """Keep an action's mark true; ``shown`` is called whenever it comes or goes."""
        dock.visibilityChanged.connect(lambda _=False: action.setChecked(not dock.isHidden()))
        dock.visibilityChanged.connect(lambda _=False: shown())
