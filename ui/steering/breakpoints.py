"""The list of breakpoints, in a small window by its button."""

from __future__ import annotations

from typing import get_args

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtWidgets import QComboBox, QDialog, QLineEdit, QVBoxLayout, QWidget

from app.events import Breakpoint
from ui.chat.row_base import button, label, line
from ui.steering.status import words_of

_KINDS = {
    "tool": ("Before a tool", "its name, like python"),
    "error": ("When a call fails", ""),
    "text": ("When a text is said", "a word, in thoughts, replies or results"),
    "step": ("Before step", "a number"),
    "budget": ("When of the budget are used", "per cent"),
}


class BreakpointPanel(QDialog):
    """A small window, beside which work goes on. Signals: ``changed(tuple)`` of breakpoints."""

    changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Tool)
        self.setObjectName("breakpointPanel")
        self.setWindowTitle(self.tr("Breakpoints"))
        self._points: tuple[Breakpoint, ...] = ()
        self._list = QWidget()
        self._rows = QVBoxLayout(self._list)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(2)
        self._kind = QComboBox()
        self._kind.setObjectName("breakpointKind")
        self._kind.setAccessibleName(self.tr("Where to pause"))
        for kind in get_args(Breakpoint.__annotations__["kind"]) or _KINDS:
            self._kind.addItem(self.tr(_KINDS[kind][0]), kind)
        self._value = QLineEdit()
        self._value.setObjectName("breakpointValue")
        self._value.setAccessibleName(self.tr("Name, text or number"))
        self._value.setMinimumWidth(210)
        self._add = button(self.tr("Add"), "addBreakpoint", self.tr("Pause there"), "primary")
        title = label()
        title.setText(self.tr("Pause the run"))
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 10, 14, 12)
        column.addWidget(title)
        column.addWidget(self._list)
        column.addLayout(line(self._kind, self._value, self._add, spacing=6))
        self._kind.currentIndexChanged.connect(lambda _: self._check())
        self._value.textChanged.connect(lambda _: self._check())
        self._value.returnPressed.connect(self._add_point)
        self._add.clicked.connect(self._add_point)
        self.set_points(())
        self._check()

    def set_points(self, points: tuple[Breakpoint, ...]) -> None:
        """Show these."""
        self._points = points
        for old in self._list.findChildren(
            QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly
        ):
            self._rows.removeWidget(old)
            old.hide()
            old.deleteLater()
        for point in points:
            text = label()
            text.setText(f"●  {words_of(point)}")
            remove = button("✕", "removeBreakpoint", self.tr("Remove it"), "quiet")
            remove.clicked.connect(lambda _=False, p=point: self._remove(p))
            row = QWidget()
            row.setLayout(line(text, None, remove))
            self._rows.addWidget(row)
        if not points:
            none = label("muted")
            none.setText(self.tr("Nowhere yet. F9 pauses at the line chosen in the trace."))
            self._rows.addWidget(none)
        if self.isVisible():
            self.adjustSize()

    def pop_up(self, beside: QWidget) -> None:
        """Open by a widget, inside the screen."""
        self.adjustSize()
        place = beside.mapToGlobal(QPoint(0, beside.height() + 2))
        screen = beside.screen().availableGeometry()
        place.setX(max(screen.left(), min(place.x(), screen.right() - self.width())))
        place.setY(max(screen.top(), min(place.y(), screen.bottom() - self.height())))
        self.move(place)
        self.show()
        self._value.setFocus()

    def _made(self) -> Breakpoint | None:
        """What is written, if it makes sense."""
        kind, text = self._kind.currentData(), self._value.text().strip()
        if kind == "error":
            return Breakpoint("error")
        if kind in ("step", "budget"):
            try:
                number = float(text.rstrip("% "))
            except ValueError:
                return None
            fits = number >= 1 if kind == "step" else 0 < number <= 100
            return Breakpoint(kind, number=number) if fits else None
        return Breakpoint(kind, text) if text else None

    def _check(self) -> None:
        kind = self._kind.currentData()
        self._value.setEnabled(kind != "error")
        self._value.setPlaceholderText(self.tr(_KINDS[kind][1]) if _KINDS[kind][1] else "")
        self._add.setEnabled(self._made() is not None)

    def _add_point(self) -> None:
        made = self._made()
        if made is not None and made not in self._points:
            self._value.clear()
            self.changed.emit((*self._points, made))

    def _remove(self, point: Breakpoint) -> None:
        self.changed.emit(tuple(one for one in self._points if one != point))
