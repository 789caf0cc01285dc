"""The tabs below the tree: plain texts, searchable, copyable; nothing in them is ever rendered."""

from __future__ import annotations

import re

from PySide6.QtCore import Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QGuiApplication,
    QKeySequence,
    QShortcut,
    QSyntaxHighlighter,
    QTextCharFormat,
    QTextCursor,
)
from PySide6.QtWidgets import QLineEdit, QPlainTextEdit, QTabWidget, QVBoxLayout, QWidget

from ui.chat.row_base import button, label, line
from ui.theme import Theme, current

LONGEST = 200_000
"""Characters that a tab shows; the copy button takes all."""
_SPECIAL = re.compile(r"<\|[^|>]{1,60}\|>|</?think>")


class _SpecialTokens(QSyntaxHighlighter):
    """Makes the model's control tokens stand out."""

    def highlightBlock(self, text: str) -> None:
        """Colour one line."""
        style = QTextCharFormat()
        style.setForeground(QColor(current().accent))
        style.setFontWeight(QFont.Weight.Bold)
        for match in _SPECIAL.finditer(text):
            self.setFormat(match.start(), match.end() - match.start(), style)


class Page(QPlainTextEdit):
    """A read-only text that keeps its place while it grows."""

    def __init__(self, name: str, title: str, wrap: bool) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setAccessibleName(title)
        self.setReadOnly(True)
        self.setProperty("role", "plain")
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        if not wrap:
            self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.full = ""
        self.highlighter = _SpecialTokens(self.document())

    def show_text(self, text: str) -> None:
        """Show a text; one that only grew is appended to."""
        if text == self.full:
            return
        grown = bool(self.full) and text.startswith(self.full) and len(text) <= LONGEST
        more, self.full = text[len(self.full) :], text
        bar = self.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 2
        if grown:
            cursor = QTextCursor(self.document())
            cursor.movePosition(QTextCursor.MoveOperation.End)
            cursor.insertText(more)
            if at_end:
                bar.setValue(bar.maximum())
            return
        left_out = len(text) - LONGEST
        note = self.tr("\n\n({n:,} more characters; Copy takes all of them)").format(n=left_out)
        self.setPlainText(text if left_out <= 0 else text[:LONGEST] + note)


class Details(QWidget):
    """Tabs by name; a find line above them."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tabs = QTabWidget()
        self.tabs.setObjectName("traceTabs")
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        self.pages: dict[str, Page] = {}
        for name, title, wrap in (
            ("prompt", self.tr("Prompt"), True),
            ("response", self.tr("Response"), True),
            ("tool", self.tr("Tool"), True),
            ("timings", self.tr("Timings"), False),
            ("settings", self.tr("Settings"), True),
            ("messages", self.tr("Messages"), True),
        ):
            page = Page(f"trace_{name}", title, wrap)
            self.pages[name] = page
            self.tabs.addTab(page, title)
        self._find = QLineEdit()
        self._find.setObjectName("traceFind")
        self._find.setPlaceholderText(self.tr("Find in this text (Ctrl+F)"))
        self._find.setAccessibleName(self.tr("Find in this text"))
        self._find.setClearButtonEnabled(True)
        self._find.textChanged.connect(lambda _: self._search(anew=True))
        self._find.returnPressed.connect(self._search)
        self._missing = label("warn")
        copy = button(self.tr("Copy"), "copyTrace", self.tr("Copy all of this text"))
        copy.clicked.connect(self.copy)
        QShortcut(
            QKeySequence.StandardKey.Find,
            self,
            self._find.setFocus,
            context=Qt.ShortcutContext.WidgetWithChildrenShortcut,
        )
        top = line(self._find, self._missing, copy)
        top.setContentsMargins(8, 6, 8, 2)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(top)
        column.addWidget(self.tabs)

    @property
    def page(self) -> Page:
        """The one that is shown."""
        page = self.tabs.currentWidget()
        assert isinstance(page, Page)
        return page

    @property
    def current(self) -> str:
        """The shown one's name."""
        return next(name for name, page in self.pages.items() if page is self.page)

    def show_page(self, name: str) -> None:
        """Turn to a tab."""
        self.tabs.setCurrentWidget(self.pages[name])

    def copy(self) -> None:
        """The shown text, whole, to the clipboard."""
        QGuiApplication.clipboard().setText(self.page.full)

    def set_theme(self, theme: Theme) -> None:
        """Fonts and the colour of tokens."""
        for page in self.pages.values():
            page.setFont(theme.mono_font)
            page.highlighter.rehighlight()

    def _search(self, *, anew: bool = False) -> None:
        """To the next place, from the beginning again after the last."""
        word, page = self._find.text(), self.page
        self._missing.setText("")
        if not word:
            return
        if anew:
            page.moveCursor(QTextCursor.MoveOperation.Start)
        if not page.find(word):
            page.moveCursor(QTextCursor.MoveOperation.Start)
            if not page.find(word):
                self._missing.setText(self.tr("not found"))
