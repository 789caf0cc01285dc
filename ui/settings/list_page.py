"""A page of the settings with a list of things, and what is to be known and done about one."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QResizeEvent, QShortcut, QShowEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QFormLayout,
    QListWidget,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ui.chat.row_base import label, line
from ui.settings.undo_line import UndoLine
from ui.theme import current

_NARROW = 560
_LIST_WIDTH = 190
_LIST_HEIGHT = 120
_ANY = 10_000


class ListPage(QWidget):
    """The list at the left, or above where it is narrow; the chosen one beside it."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        """``name``: of the thing, for object names."""
        super().__init__(parent)
        self.list = QListWidget()
        self.list.setObjectName(f"{name}List")
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.currentItemChanged.connect(lambda *_: self.show_chosen())
        # Queued: the same Enter would go on to the editor's button that is pressed by Enter.
        queued = Qt.ConnectionType.QueuedConnection
        self.list.itemActivated.connect(self.edit_chosen, queued)
        delete = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self.list)
        delete.setContext(Qt.ShortcutContext.WidgetShortcut)
        delete.activated.connect(self.remove_chosen)
        self.title, self.about, self.caution = label(), label("muted"), label("warn")
        self.title.setObjectName(f"{name}Title")
        self.about.setObjectName(f"{name}About")
        self.title.setFont(current().heading_font)
        for one in (self.title, self.about, self.caution):
            one.setWordWrap(True)
        self._name = name
        self._facts = QFormLayout()
        self._facts.setHorizontalSpacing(16)
        self._facts.setVerticalSpacing(3)
        self.undo = UndoLine(f"{name}Undo")

    def lay_out(
        self,
        add: QPushButton,
        first: tuple[QPushButton, ...],
        second: tuple[QPushButton, ...],
        below: tuple[QWidget, ...] = (),
    ) -> None:
        """``first`` and ``second``: buttons in one line, or in two. ``below``: under them."""
        self._actions = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._actions.setSpacing(6)
        self._actions.addLayout(line(*first, None, spacing=6), 1)
        self._actions.addLayout(line(*second, None, spacing=6))
        right = QVBoxLayout()
        right.addWidget(self.title)
        right.addWidget(self.about)
        right.addLayout(self._facts)
        right.addWidget(self.caution)
        right.addSpacing(4)
        right.addLayout(self._actions)
        for widget in below:
            right.addWidget(widget)
        right.addStretch(1)
        self._line = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._line.setSpacing(16)
        self._line.addWidget(self.list)
        self._line.addLayout(right, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 12, 12, 4)
        column.addLayout(self._line, 1)
        foot = line(add, self.undo)
        foot.setStretch(1, 1)
        column.addLayout(foot)

    def showEvent(self, event: QShowEvent) -> None:
        """What was measured while nobody saw it was measured without the style."""
        super().showEvent(event)
        self.list.doItemsLayout()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Where it is narrow, the list stands above."""
        super().resizeEvent(event)
        narrow = event.size().width() < _NARROW
        kinds = QBoxLayout.Direction
        for layout in (self._line, self._actions):
            layout.setDirection(kinds.TopToBottom if narrow else kinds.LeftToRight)
        if narrow:
            self.list.setMaximumSize(_ANY, _LIST_HEIGHT)
        else:
            self.list.setMaximumSize(_LIST_WIDTH, _ANY)

    def set_facts(self, facts: list[tuple[str, str]]) -> None:
        """What is known of the chosen one."""
        while self._facts.rowCount():
            self._facts.removeRow(0)
        for name, text in facts:
            title, value = label("muted"), label()
            title.setText(name)
            value.setText(text)
            value.setObjectName(f"{self._name}Fact")
            value.setWordWrap(True)
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            value.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
            self._facts.addRow(title, value)

    def set_caution(self, text: str) -> None:
        """What a person may want to think over; empty: nothing."""
        self.caution.setText(text)
        self.caution.setVisible(bool(text))

    def show_chosen(self) -> None:
        """Another one was chosen."""
        raise NotImplementedError

    def edit_chosen(self) -> None:
        """Enter, or a double click."""
        raise NotImplementedError

    def remove_chosen(self) -> None:
        """Delete."""
        raise NotImplementedError
