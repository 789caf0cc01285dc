"""What all row widgets share: binding, natural height, and where clicks go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ui.chat.rows import Row
from ui.theme import Theme

if TYPE_CHECKING:
    from ui.chat.approval_box import Draft
    from ui.chat.artefacts import Gallery


class ChatActions(QObject):
    """Everything a row can ask for. Signals: ``decided(Given)``,
    ``regenerate(turn)``, ``edited(turn, text)``, ``branch_selected(turn)``,
    ``resume_asked(turn)``, ``restart_engine_asked()``, ``selected(key)``, ``toggled(key, open)``,
    ``resized(key)``, ``lane_stopped(lane)``, ``undo_asked(change)``.

    ``gallery`` decodes artefacts; None: there are none to show. ``drafts`` is what a person has
    begun to write for calls that ask.
    """

    decided = Signal(object)
    regenerate = Signal(str)
    edited = Signal(str, str)
    branch_selected = Signal(str)
    resume_asked = Signal(str)
    restart_engine_asked = Signal()
    selected = Signal(str)
    toggled = Signal(str, bool)
    resized = Signal(str)
    lane_stopped = Signal(str)
    undo_asked = Signal(str)
    gallery: Gallery | None = None

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.drafts: dict[str, Draft] = {}


class RowWidget(QWidget):
    """A recycled widget. ``bind`` shows a row; ``height_at`` is its natural height."""

    def __init__(self, actions: ChatActions, parent: QWidget) -> None:
        super().__init__(parent)
        self.actions_ = actions
        self.key = ""

    def bind(self, row: Row, theme: Theme, opened: bool) -> None:
        """Show a row. ``opened``: whether its collapsible part is."""
        raise NotImplementedError

    def height_at(self, width: int) -> int:
        """Pixels it needs at a width."""
        raise NotImplementedError


def natural_height(row: QWidget) -> int:
    """The height a row's layouts ask for now.

    What was shown or hidden a moment ago reaches the layouts around it by posted events only, so
    they are brought up to date here, the innermost first.
    """
    for child in (*reversed(row.findChildren(QWidget)), row):
        layout = child.layout()
        if layout is not None:
            layout.invalidate()
            layout.activate()
            child.updateGeometry()
    outer = row.layout()
    assert outer is not None
    return outer.sizeHint().height()


class Card(QFrame):
    """A framed column. ``role`` picks its look in the style sheet."""

    def __init__(self, role: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", role)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(12, 8, 12, 8)
        self.column.setSpacing(6)

    def set_role(self, role: str) -> None:
        """Another look."""
        if self.property("role") != role:
            self.setProperty("role", role)
            self.style().unpolish(self)
            self.style().polish(self)

    def inner_width(self, width: int) -> int:
        """What is left for content."""
        margins = self.column.contentsMargins()
        return max(width - margins.left() - margins.right() - 2 * self.frameWidth(), 40)


def label(role: str = "", parent: QWidget | None = None) -> QLabel:
    """A one-line label that never interprets its text as markup."""
    made = QLabel(parent)
    made.setTextFormat(Qt.TextFormat.PlainText)
    if role:
        made.setProperty("role", role)
    return made


class ElidedLabel(QLabel):
    """One line that gives way to what stands beside it: what has no room ends in an ellipsis."""

    def __init__(self, role: str = "") -> None:
        super().__init__()
        self._whole = ""
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setProperty("role", role)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def setText(self, text: str) -> None:
        """All of it, of which what fits is shown."""
        self._whole = text
        self._elide()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width shows more or less."""
        super().resizeEvent(event)
        self._elide()

    def _elide(self) -> None:
        end = Qt.TextElideMode.ElideRight
        super().setText(self.fontMetrics().elidedText(self._whole, end, self.width()))


def set_label_role(target: QLabel, role: str) -> None:
    """Change a label's colour role."""
    if target.property("role") != role:
        target.setProperty("role", role)
        target.style().unpolish(target)
        target.style().polish(target)


def button(text: str, name: str, tip: str, role: str = "") -> QPushButton:
    """A push button with its object name, tooltip and accessible name."""
    made = QPushButton(text)
    made.setObjectName(name)
    made.setToolTip(tip)
    made.setAccessibleName(tip or text)
    made.setCursor(Qt.CursorShape.PointingHandCursor)
    made.setAutoDefault(False)
    if role:
        made.setProperty("role", role)
    return made


def line(*widgets: QWidget | None, spacing: int = 8) -> QHBoxLayout:
    """A horizontal line; None stretches."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(spacing)
    for widget in widgets:
        if widget is None:
            layout.addStretch(1)
        else:
            layout.addWidget(widget)
    return layout
