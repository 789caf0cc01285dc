"""A map of cells, one a layer and expert: a picture of one pixel a cell, enlarged when painted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPoint, QRect, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from ui.theme import current

_WIDEST, _HIGHEST = 40, 20
"""A cell's largest size; a small model's map would fill the panel otherwise."""
_TALLEST = 420
_EASY = 12
"""The cell size that is easy to see and to point at."""
_GAPS_FROM = 6
"""The cell size from which cells are set apart by a line."""
_GAP = 6
"""Between numbers and cells."""

Place = tuple[int, int]
"""A row (layer) and a column (expert) of the map."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How a map lies in a widget. ``turned``: layers run across and experts down."""

    turned: bool
    area: QRect
    across: int
    down: int

    @property
    def cell(self) -> tuple[float, float]:
        """A cell's width and height in pixels."""
        return self.area.width() / self.across, self.area.height() / self.down

    def place_at(self, point: QPoint) -> Place | None:
        """The cell under a point."""
        if not self.area.contains(point):
            return None
        x = (point.x() - self.area.left()) * self.across // self.area.width()
        y = (point.y() - self.area.top()) * self.down // self.area.height()
        return (x, y) if self.turned else (y, x)

    def rect_of(self, place: Place) -> QRect:
        """Where a cell is painted."""
        x, y = place if self.turned else place[::-1]
        width, height = self.cell
        left, top = self.area.left() + int(x * width), self.area.top() + int(y * height)
        return QRect(left, top, max(int(width), 1), max(int(height), 1))


def fit(rows: int, columns: int, width: int, margin: int, head: int) -> Fit:
    """The way of lying in which cells come out largest, in whole pixels.

    ``margin`` is what numbers take at the left, ``head`` at the top. Where not even one pixel a
    cell is left, cells share pixels.
    """
    room = max(width - margin, 1)
    best: tuple[tuple[int, int, int], Fit] | None = None
    for turned in (False, True):
        across, down = (rows, columns) if turned else (columns, rows)
        wide = min(room // across, _WIDEST)
        high = max(min(wide * 3, _HIGHEST, _TALLEST // down), 1)
        found = Fit(turned, QRect(margin, head, wide * across or room, high * down), across, down)
        # Beyond what is easy to hit, a lower map is worth more than larger cells.
        rank = (min(wide, high, _EASY), min(wide * high, _EASY**2), -found.area.height())
        if best is None or rank > best[0]:
            best = (rank, found)
    assert best is not None
    return best[1]


class CellGrid(QWidget):
    """Signals: ``pointed(place)`` with the cell under the mouse or the arrow keys, or None."""

    pointed = Signal(object)

    def __init__(self, colours: Callable[[], list[int]], parent: QWidget | None = None) -> None:
        """``colours``: 0xAARRGGBB for each value of a cell, asked for when the theme changes."""
        super().__init__(parent)
        self._colours = colours
        self._layers: tuple[int, ...] = ()
        self._experts = 0
        self._bytes = b""
        self._images: dict[bool, QImage] = {}
        self._place: Place | None = None
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    @property
    def place(self) -> Place | None:
        """The cell that is marked."""
        return self._place

    def set_cells(self, layers: tuple[int, ...], experts: int, values: bytes) -> None:
        """Values [layers, experts], row by row, each an index into the colours."""
        assert len(values) == len(layers) * experts
        if (layers, experts) != (self._layers, self._experts):
            self._layers, self._experts = layers, experts
            self._place = None
            self._bytes = b""
            self.updateGeometry()
        if values != self._bytes:
            self._bytes = values
            self._forget_images()

    def refresh_colours(self) -> None:
        """Take the theme's colours and font."""
        self.setFont(current().small_font)
        self._forget_images()

    def mark(self, place: Place | None) -> None:
        """Outline a cell, or none."""
        if place != self._place:
            self._place = place
            self.update()

    # -- size

    def fit(self) -> Fit:
        """How the map lies now."""
        return self._fit(self.width())

    def _fit(self, width: int) -> Fit:
        metrics = self.fontMetrics()
        numbers = (str(max(self._layers, default=0)), str(max(self._experts - 1, 0)))
        margin = max(metrics.horizontalAdvance(n) for n in numbers) + _GAP
        return fit(
            max(len(self._layers), 1), max(self._experts, 1), width - 2, margin, metrics.height()
        )

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self._fit(width).area.bottom() + 3

    def sizeHint(self) -> QSize:
        return QSize(300, self.heightForWidth(300))

    def minimumSizeHint(self) -> QSize:
        return QSize(120, self.heightForWidth(max(self.width(), 120)))

    # -- painting

    def _image(self, turned: bool) -> QImage:
        """One pixel a cell, layers down unless ``turned``; kept until values or colours change."""
        if turned not in self._images:
            wide, high = self._experts, len(self._layers)
            values = self._bytes
            if turned:
                values = b"".join(values[expert::wide] for expert in range(wide))
                wide, high = high, wide
            image = QImage(values, wide, high, wide, QImage.Format.Format_Indexed8)
            image.setColorTable(self._colours())
            # The copy owns its pixels; the image before it only points to the bytes.
            self._images[turned] = image.convertToFormat(QImage.Format.Format_RGB32)
        return self._images[turned]

    def _forget_images(self) -> None:
        self._images.clear()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        if not self._bytes:
            return
        theme, lies = current(), self.fit()
        painter = QPainter(self)
        painter.drawImage(lies.area, self._image(lies.turned))
        if min(lies.cell) >= _GAPS_FROM:
            self._paint_gaps(painter, lies, QColor(theme.window))
        painter.setPen(QColor(theme.border))
        painter.drawRect(lies.area.adjusted(-1, -1, 0, 0))
        self._paint_numbers(painter, lies, QColor(theme.faint))
        if self._place is not None:
            self._paint_mark(painter, lies.rect_of(self._place))
        painter.end()

    def _paint_gaps(self, painter: QPainter, lies: Fit, colour: QColor) -> None:
        """The last pixel of each cell. Filled, for lines lie beside the cells on scaled screens."""
        area, (width, height) = lies.area, lies.cell
        for x in range(1, lies.across):
            at = area.left() + int(x * width) - 1
            painter.fillRect(at, area.top(), 1, area.height(), colour)
        for y in range(1, lies.down):
            at = area.top() + int(y * height) - 1
            painter.fillRect(area.left(), at, area.width(), 1, colour)

    def _paint_numbers(self, painter: QPainter, lies: Fit, colour: QColor) -> None:
        painter.setPen(colour)
        metrics = painter.fontMetrics()
        experts = range(self._experts)
        across, down = (self._layers, experts) if lies.turned else (experts, self._layers)
        area, (width, height) = lies.area, lies.cell
        wide = metrics.horizontalAdvance("0" * len(str(across[-1]))) + 10
        for i in _ticks(len(across), width, wide):
            text = str(across[i])
            middle = area.left() + int((i + 0.5) * width)
            left = min(middle - metrics.horizontalAdvance(text) // 2, area.right())
            painter.drawText(max(left, area.left()), area.top() - 4, text)
        for i in _ticks(len(down), height, metrics.height()):
            text = str(down[i])
            middle = area.top() + int((i + 0.5) * height)
            left = area.left() - _GAP - metrics.horizontalAdvance(text)
            painter.drawText(left, middle + metrics.ascent() // 2 - 1, text)

    def _paint_mark(self, painter: QPainter, cell: QRect) -> None:
        """Two lines, dark and light, so that one of them stands out on every colour."""
        theme = current()
        outer = cell.adjusted(-3, -3, 2, 2)
        painter.setPen(QPen(QColor(theme.surface), 1))
        painter.drawRect(outer.adjusted(1, 1, -1, -1))
        painter.setPen(QPen(QColor(theme.text), 1))
        painter.drawRect(outer)

    # -- pointing

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._point(self.fit().place_at(event.position().toPoint()) if self._bytes else None)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        if not self.hasFocus():
            self._point(None)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        if self._place is None and self._bytes:
            self._point((0, 0))

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self._point(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows move by a cell, Home and End along the experts, Page keys along the layers."""
        place = self._moved(Qt.Key(event.key())) if self._bytes else None
        if place is None:
            super().keyPressEvent(event)
        else:
            self._point(place)

    def _moved(self, key: Qt.Key) -> Place | None:
        row, column = self._place or (0, 0)
        last_row, last_column = len(self._layers) - 1, self._experts - 1
        keys = Qt.Key
        if key == keys.Key_Home:
            return row, 0
        if key == keys.Key_End:
            return row, last_column
        if key == keys.Key_PageUp:
            return 0, column
        if key == keys.Key_PageDown:
            return last_row, column
        step = {
            keys.Key_Left: (-1, 0),
            keys.Key_Right: (1, 0),
            keys.Key_Up: (0, -1),
            keys.Key_Down: (0, 1),
        }.get(key)
        if step is None:
            return None
        x, y = step
        down, right = (x, y) if self.fit().turned else (y, x)
        return _within(row + down, last_row), _within(column + right, last_column)

    def _point(self, place: Place | None) -> None:
        if place != self._place:
            self.mark(place)
            self.pointed.emit(place)


def _within(value: int, last: int) -> int:
    return min(max(value, 0), last)


def _ticks(count: int, pitch: float, room: int) -> Sequence[int]:
    """Which of ``count`` cells get a number: as dense as round steps allow."""
    for step in (1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100, 128, 256, 512):
        if step * pitch >= room:
            return range(0, count, step)
    return (0,)
