"""Text that sizes itself: a block of rich text, and a growing plain text."""

from __future__ import annotations

from PySide6.QtCore import QRect, QSize, Qt, QUrl
from PySide6.QtGui import QDesktopServices, QFont, QTextCursor, QTextOption
from PySide6.QtWidgets import QFrame, QMessageBox, QPlainTextEdit, QTextBrowser, QWidget

from ui.chat.markdown import document_css
from ui.theme import Theme


class RichText(QTextBrowser):
    """Shows sanitised HTML at its natural height. Loads nothing; asks before it opens a link."""

    def __init__(self, parent: QWidget | None = None, wrap: bool = True) -> None:
        super().__init__(parent)
        self.setProperty("role", "block")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        if wrap:
            self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        else:
            self.setLineWrapMode(QTextBrowser.LineWrapMode.NoWrap)
        self.setOpenLinks(False)
        self.setTabChangesFocus(True)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.DefaultContextMenu)
        self.document().setDocumentMargin(0)
        self.viewport().setAutoFillBackground(False)
        self.anchorClicked.connect(self._ask_to_open)
        self._shown: tuple[str, Theme] | None = None

    def show_html(self, html: str, theme: Theme, font: QFont | None = None) -> None:
        """Replace the content unless it is the same already."""
        if self._shown == (html, theme):
            return
        self._shown = (html, theme)
        self.document().setDefaultFont(font or theme.body_font)
        self.document().setDefaultStyleSheet(document_css(theme))
        self.setHtml(html)

    def height_at(self, width: int) -> int:
        """The height its text needs at a width."""
        wrapped = self.lineWrapMode() != QTextBrowser.LineWrapMode.NoWrap
        document = self.document()
        document.setTextWidth(width if wrapped else -1)
        height = int(document.size().height()) + 1
        if not wrapped and document.idealWidth() > width:
            height += self.horizontalScrollBar().sizeHint().height()
        return height

    def loadResource(self, kind: int, name: QUrl | str) -> object:
        """Nothing is ever fetched from disk or net."""
        return None

    def wheelEvent(self, event: object) -> None:
        """The conversation scrolls, not the block."""
        event.ignore()  # type: ignore[attr-defined]

    def _ask_to_open(self, url: QUrl) -> None:
        box = QMessageBox(self.window())
        box.setObjectName("openLinkDialog")
        box.setWindowTitle(self.tr("Open link?"))
        box.setText(self.tr("Open this address in your browser?"))
        box.setInformativeText(url.toString()[:500])
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setStandardButtons(QMessageBox.StandardButton.Open | QMessageBox.StandardButton.Cancel)
        box.setDefaultButton(QMessageBox.StandardButton.Cancel)
        if box.exec() == QMessageBox.StandardButton.Open:
            QDesktopServices.openUrl(url)


class PlainText(QPlainTextEdit):
    """Read-only plain text that grows by appending; beyond ``max_height`` it scrolls inside."""

    def __init__(self, parent: QWidget | None = None, max_height: int = 320) -> None:
        super().__init__(parent)
        self.setProperty("role", "plain")
        self.setReadOnly(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.setTabChangesFocus(True)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.document().setDocumentMargin(0)
        self.viewport().setAutoFillBackground(False)
        self.max_height = max_height
        self._text = ""

    def show_text(self, text: str, follow: bool = False) -> None:
        """Show `text`; when it only grew, only the growth is laid out."""
        if text == self._text:
            return
        if self._text and text.startswith(self._text):
            cursor = QTextCursor(self.document())
            cursor.movePosition(QTextCursor.MoveOperation.End)
            cursor.insertText(text[len(self._text) :])
        else:
            self.setPlainText(text)
        self._text = text
        if follow:
            bar = self.verticalScrollBar()
            bar.setValue(bar.maximum())

    def height_at(self, width: int) -> int:
        """Natural height up to the limit."""
        metrics = self.fontMetrics()
        if len(self._text) * metrics.averageCharWidth() > 2 * width * self.max_height:
            return self.max_height  # far beyond: no need to measure it all
        flags = Qt.TextFlag.TextWordWrap | Qt.TextFlag.TextWrapAnywhere
        box = QRect(0, 0, width, 1 << 24)
        text = self._text + "." if self._text.endswith("\n") else self._text or "."
        natural = metrics.boundingRect(box, int(flags), text).height() + metrics.descent() + 4
        return min(natural, self.max_height)

    def sizeHint(self) -> QSize:
        """Height follows the text."""
        return QSize(200, self.height_at(max(self.width(), 1)))

    def wheelEvent(self, event: object) -> None:
        """Scroll inside only while it can."""
        bar = self.verticalScrollBar()
        delta = event.angleDelta().y()  # type: ignore[attr-defined]
        can = bar.value() > bar.minimum() if delta > 0 else bar.value() < bar.maximum()
        if can and bar.maximum() > 0:
            super().wheelEvent(event)  # type: ignore[arg-type]
        else:
            event.ignore()  # type: ignore[attr-defined]
