"""One line that says what was just done and offers to undo it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QWidget

from ui.chat.row_base import button, label


class UndoLine(QWidget):
    """Empty until something was done. It keeps its height, so that nothing jumps, unless it
    ``gives_way``.
    """

    def __init__(
        self, name: str, parent: QWidget | None = None, *, gives_way: bool = False
    ) -> None:
        """``name``: of the button."""
        super().__init__(parent)
        self._gives_way = gives_way
        self._work: Callable[[], object] | None = None
        self._text = label("muted")
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
        self._button = button(self.tr("Undo"), name, self.tr("Bring it back (Ctrl+Z)"))
        self._button.setShortcut("Ctrl+Z")
        self._button.clicked.connect(self._undo)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self._text, 1)
        line.addWidget(self._button)
        self.setFixedHeight(self._button.sizeHint().height())
        self.clear()

    def offer(self, text: str, work: Callable[[], object]) -> None:
        """Say what was done; ``work`` undoes it."""
        self._work = work
        self._text.setText(self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, 360))
        self._text.setToolTip(text)
        self._button.show()
        self.show()

    def clear(self) -> None:
        """There is nothing to undo."""
        self._work = None
        self._text.setText("")
        self._button.hide()
        if self._gives_way:
            self.hide()

    def _undo(self) -> None:
        work = self._work
        self.clear()
        if work is not None:
            work()
