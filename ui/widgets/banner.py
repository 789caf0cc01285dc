"""Lines across the top that say what happened and offer the one thing to do."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QVBoxLayout, QWidget

from ui.chat.row_base import Card, button, label

_NARROW = 560


class Banner(Card):
    """One message; ``hint`` says what to do next."""

    def __init__(self, name: str, role: str, message: str, hint: str) -> None:
        super().__init__(role)
        self.setObjectName(name)
        self.message = label()
        self.message.setObjectName(f"{name}Message")
        self.message.setWordWrap(True)
        self.message.setText(message)
        self.hint = label("muted")
        self.hint.setWordWrap(True)
        self.hint.setText(hint)
        self.hint.setVisible(bool(hint))
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self.message)
        words.addWidget(self.hint)
        self._buttons = QHBoxLayout()
        self._line = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._line.addLayout(words, 1)
        self._line.addLayout(self._buttons)
        self.column.addLayout(self._line)
        self.setAccessibleName(f"{message} {hint}")

    def add_button(
        self, text: str, name: str, tip: str, work: Callable[[], object], role: str = ""
    ) -> None:
        """Offer something to do."""
        made = button(text, name, tip, role)
        made.clicked.connect(lambda: work())
        self._buttons.addWidget(made)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Where it is narrow, the buttons go below the words."""
        super().resizeEvent(event)
        narrow = event.size().width() < _NARROW
        kinds = QBoxLayout.Direction
        self._line.setDirection(kinds.TopToBottom if narrow else kinds.LeftToRight)


class BannerColumn(QWidget):
    """Shows at most one banner of a name; the newest replaces the older."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(24, 8, 24, 0)
        self._banners: dict[str, Banner] = {}
        self.hide()

    def show_banner(self, banner: Banner, closable: bool = True) -> Banner:
        """Put a banner up."""
        name = banner.objectName()
        self.remove(name)
        if closable:
            banner.add_button(
                "✕", f"{name}Close", self.tr("Dismiss"), lambda: self.remove(name), "quiet"
            )
        self._banners[name] = banner
        self._column.addWidget(banner)
        self.show()
        return banner

    def remove(self, name: str) -> None:
        """Take a banner down, if it is up."""
        banner = self._banners.pop(name, None)
        if banner is not None:
            self._column.removeWidget(banner)
            banner.hide()
            banner.deleteLater()
        self.setVisible(bool(self._banners))
