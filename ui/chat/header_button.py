"""A line that opens and closes what is under it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QWidget

from ui.chat.row_base import ElidedLabel, label, line


class HeaderButton(QWidget):
    """A line that opens and closes what is under it, by click, Space or Enter."""

    def __init__(self, name: str, toggle: Callable[[], None]) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setProperty("role", "header")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._toggle = toggle
        self.arrow = label("faint")
        self.title = label()
        self.detail = ElidedLabel("faint")
        self.state = label("faint")
        self._line = line(self.arrow, self.title, self.detail, self.state)
        self._line.setStretch(2, 1)
        self.setLayout(self._line)

    def add(self, widget: QWidget) -> None:
        """Put something at the line's end."""
        self._line.addWidget(widget)

    def show_open(self, opened: bool) -> None:
        """Point the arrow."""
        self.arrow.setText("▾" if opened else "▸")

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Toggle."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._toggle()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Toggle by keyboard."""
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._toggle()
        else:
            super().keyPressEvent(event)
