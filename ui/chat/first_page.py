"""What a new conversation shows: what this is, and a few things to try."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.engines.view import EngineView
from ui.chat.row_base import button, label
from ui.theme import Theme, current

EXAMPLES = (
    "What is 17*23 + 4? Use the calculator.",
    "What is the mean of 12, 7, 30 and 11? Use Python.",
    "How much is 15% of 240?",
    "What can you do?",
)


class FirstPage(QWidget):
    """Signals: ``picked(text)`` when an example is chosen."""

    picked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = label()
        self._title.setText(self.tr("What shall we find out?"))
        self._title.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._status = label("muted")
        self._status.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._status.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 24, 24, 24)
        column.setSpacing(8)
        column.addStretch(2)
        column.addWidget(self._title)
        column.addWidget(self._status)
        column.addSpacing(12)
        for i, text in enumerate(EXAMPLES):
            example = button(text, f"example{i}", self.tr("Ask this"))
            example.setMaximumWidth(460)
            example.setMinimumWidth(340)
            example.clicked.connect(lambda _=False, t=text: self.picked.emit(t))
            column.addWidget(example, alignment=Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(3)
        self._view: EngineView | None = None
        self._elsewhere = ""
        self.set_theme(current())
        self._tell()

    def set_theme(self, theme: Theme) -> None:
        """Fonts; colours come from the style sheet."""
        self._title.setFont(theme.heading_font)

    def set_engine(self, view: EngineView | None) -> None:
        """How it is with the engine of this machine."""
        self._view = view
        self._tell()

    def set_elsewhere(self, name: str) -> None:
        """The endpoint that answers instead of it; empty: it does."""
        self._elsewhere = name
        self._tell()

    def _tell(self) -> None:
        """One line on who answers."""
        view, status = self._view, self._view.status if self._view else None
        if self._elsewhere:
            text = self.tr("{name} answers. What you write goes there.").format(
                name=self._elsewhere
            )
        elif status is not None and status.state == "ready" and status.model:
            text = self.tr("{model} answers on this machine. Nothing leaves it.").format(
                model=status.model
            )
        elif view is not None and view.phase in ("lost", "failed"):
            text = self.tr("The engine is not running: {why}").format(why=view.message)
        else:
            text = self.tr("The engine is starting…")
        self._status.setText(text)
