"""The window as a bar: every message a stretch, in the order in which the model reads them."""

from __future__ import annotations

from itertools import accumulate

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app.agent.context_map import ContextMap, Slice, SliceKind
from ui.theme import current

NAMES: dict[SliceKind, str] = {
    "system": "System prompt",
    "tools": "Tools",
    "notes": "Notes on older steps",
    "turns": "Earlier messages",
    "task": "Task",
    "reasoning": "Reasoning",
    "replies": "Replies and calls",
    "results": "Tool results",
    "hidden": "Hidden results",
    "program": "Told by the program, or by you",
    "markers": "Markers",
}
_LIGHT: dict[SliceKind, str] = {
    "system": "#7a7f8a", "tools": "#a3a7af", "notes": "#b98a2e", "turns": "#86a0d8",
    "task": "#3d56b2", "reasoning": "#c9b98a", "replies": "#5a9c7c", "results": "#c27a5a",
    "hidden": "#e3c3b4", "program": "#9a7bb0", "markers": "#d0d0cb",
}  # fmt: skip
_DARK: dict[SliceKind, str] = {
    "system": "#8f95a1", "tools": "#666b76", "notes": "#d6ab54", "turns": "#5b76b8",
    "task": "#93a8f4", "reasoning": "#8d8262", "replies": "#6db38f", "results": "#c98466",
    "hidden": "#5d463c", "program": "#a98bc0", "markers": "#464a54",
}  # fmt: skip
_HEIGHT, _BELOW = 26, 12


def colour_of(kind: SliceKind) -> QColor:
    """In the theme in use."""
    return QColor((_DARK if current().dark else _LIGHT)[kind])


class ContextBar(QWidget):
    """Left and Right go from one stretch to the next, Enter picks one.

    Signals: ``picked(key)``.
    """

    picked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("contextBar")
        self.setAccessibleName(self.tr("What fills the context"))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._map = ContextMap()
        self._ends: list[int] = []
        self._at = 0
        """The stretch that the keyboard is at."""

    def set_map(self, found: ContextMap) -> None:
        """Show another."""
        self._map = found
        self._at = max(min(self._at, len(found.slices) - 1), 0)
        self._ends = list(accumulate(one.tokens for one in found.slices))
        self.update()

    def sizeHint(self) -> QSize:
        """The bar, and what is marked below it."""
        return QSize(200, _HEIGHT + _BELOW)

    def slice_at(self, x: float) -> Slice | None:
        """What is drawn at a place."""
        token = x * self._whole / max(self.width(), 1)
        pairs = zip(self._ends, self._map.slices, strict=True)
        return next((one for end, one in pairs if token < end), None)

    @property
    def _whole(self) -> int:
        return max(self._map.window, self._map.used, 1)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw stretches; those of less than a pixel overlap, which does no harm."""
        theme = current()
        painter = QPainter(self)
        scale = self.width() / self._whole
        painter.fillRect(QRectF(0, 0, self.width(), _HEIGHT), QColor(theme.code_bg))
        begin = 0
        for end, one in zip(self._ends, self._map.slices, strict=True):
            width = max((end - begin) * scale, 0.5)
            gap = 1 if width > 4 else 0
            painter.fillRect(QRectF(begin * scale, 0, width - gap, _HEIGHT), colour_of(one.kind))
            if one.next:
                self._draw_next(painter, (begin + end) / 2 * scale)
            begin = end
        painter.setPen(QColor(theme.border))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(QRectF(0.5, 0.5, self.width() - 1, _HEIGHT - 1))
        if self.hasFocus() and self._ends:
            left, right = self._stretch(self._at)
            painter.setPen(QPen(QColor(theme.text), 2))
            painter.drawRect(QRectF(left, 1, max(right - left, 3), _HEIGHT - 2))
        if self._map.cached:
            done = min(self._map.cached * scale, self.width())
            painter.fillRect(QRectF(0, _HEIGHT + 2, done, 2), QColor(theme.good))

    def _stretch(self, index: int) -> tuple[float, float]:
        """Where it begins and ends, in pixels."""
        scale = self.width() / self._whole
        ends = [0, *self._ends]
        return ends[index] * scale, ends[index + 1] * scale

    def _draw_next(self, painter: QPainter, x: float) -> None:
        x = min(max(x, 4), self.width() - 4)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(QColor(current().warn))
        painter.setPen(Qt.PenStyle.NoPen)
        top = _HEIGHT + 5
        points = [QPointF(x, top), QPointF(x - 4, top + 6), QPointF(x + 4, top + 6)]
        painter.drawPolygon(QPolygonF(points))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)

    def event(self, event: QEvent) -> bool:
        """Say what is under the pointer."""
        if isinstance(event, QHelpEvent):
            found = self.slice_at(event.pos().x())
            QToolTip.showText(event.globalPos(), words_of(found) if found else "", self)
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Go on, or show its step."""
        keys, last = Qt.Key, len(self._map.slices) - 1
        moves = {
            keys.Key_Left: self._at - 1,
            keys.Key_Right: self._at + 1,
            keys.Key_Home: 0,
            keys.Key_End: last,
        }
        key = keys(event.key())
        if last >= 0 and key in moves:
            self._at = max(min(moves[key], last), 0)
            self._tell()
        elif last >= 0 and key in (keys.Key_Return, keys.Key_Enter, keys.Key_Space):
            self.picked.emit(self._map.slices[self._at].key)
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Say where the keyboard is."""
        super().focusInEvent(event)
        if self._map.slices:
            self._tell()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """It is elsewhere."""
        super().focusOutEvent(event)
        QToolTip.hideText()
        self.update()

    def _tell(self) -> None:
        words = words_of(self._map.slices[self._at])
        self.setAccessibleDescription(words)
        begin, end = self._stretch(self._at)
        place = QPoint(round((begin + end) / 2), _HEIGHT)
        QToolTip.showText(self.mapToGlobal(place), words, self)
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Show its step."""
        found = self.slice_at(event.position().x())
        if found is not None and event.button() == Qt.MouseButton.LeftButton:
            self.picked.emit(found.key)


def words_of(one: Slice) -> str:
    """A stretch in words."""
    name = f": {one.name}" if one.name else ""
    states = [word for word, so in (("cached", one.cached), ("hidden next", one.next)) if so]
    after = f" ({', '.join(states)})" if states else ""
    return f"{NAMES[one.kind]}{name}\n{one.tokens:,} tokens{after}"
