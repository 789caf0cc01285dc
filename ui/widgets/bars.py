"""Meters: a value as a bar against its bound, with what that means in words."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from ui.chat.row_base import label, line
from ui.theme import current

_HEIGHT = 6


class Bar(QWidget):
    """A thin track, filled by a share from 0 to 1."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._share = 0.0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    @property
    def share(self) -> float:
        """How full it is."""
        return self._share

    def set_share(self, share: float) -> None:
        """Fill it so far; what is outside 0 to 1 is cut."""
        share = min(max(share, 0.0), 1.0)
        if share != self._share:
            self._share = share
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(80, _HEIGHT)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        track = QRectF(self.rect())
        painter.setBrush(QColor(theme.border))
        painter.drawRoundedRect(track, _HEIGHT / 2, _HEIGHT / 2)
        if self._share:
            track.setWidth(max(track.width() * self._share, _HEIGHT))
            painter.setBrush(QColor(theme.accent))
            painter.drawRoundedRect(track, _HEIGHT / 2, _HEIGHT / 2)
        painter.end()


class Meter(QWidget):
    """A name, a value, a bar, and a line that says what the bar is measured against."""

    def __init__(self, name: str, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self._title = title
        caption = label("muted")
        caption.setText(title)
        self._value = label()
        self._value.setObjectName(f"{name}Value")
        self._note = label("faint")
        self._note.setObjectName(f"{name}Note")
        self._note.setWordWrap(True)
        self.bar = Bar()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addLayout(line(caption, None, self._value))
        column.addWidget(self.bar)
        column.addWidget(self._note)

    def show_value(self, value: str, share: float | None, note: str) -> None:
        """``share`` None: there is nothing to measure against, and no bar."""
        self._value.setText(value)
        self.bar.setVisible(share is not None)
        self.bar.set_share(share or 0.0)
        self._note.setText(note)
        self._note.setVisible(bool(note))
        self.setAccessibleName(f"{self._title}: {value}. {note}")

    def refresh_colours(self) -> None:
        """Take the theme's font."""
        self._note.setFont(current().small_font)
        self.bar.update()
