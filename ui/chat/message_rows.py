"""Rows of what came of a message: reasoning, answers, code, and what stands around them."""

from __future__ import annotations

import time
from html import escape

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from ui.chat.header_button import HeaderButton
from ui.chat.markdown import code_html, to_html
from ui.chat.row_base import (
    Card,
    ChatActions,
    ElidedLabel,
    RowWidget,
    button,
    label,
    line,
    natural_height,
)
from ui.chat.rows import (
    FooterRow,
    ReasoningRow,
    RemarkRow,
    Row,
    TextRow,
    TroubleRow,
    WaitRow,
)
from ui.chat.text_widgets import PlainText, RichText
from ui.theme import Theme
from ui.words import count, sentence, span, took


class ReasoningWidget(RowWidget):
    """Live reasoning: plain text, open while it streams, one line when it is done."""

    def __init__(self, actions: ChatActions, parent: QWidget) -> None:
        super().__init__(actions, parent)
        self._opened = False
        self._card = Card("reasoning")
        self._head = HeaderButton("reasoningHeader", self._toggle)
        self._text = PlainText(max_height=260)
        self._text.setAccessibleName(self.tr("Reasoning"))
        self._card.column.addWidget(self._head)
        self._card.column.addWidget(self._text)
        _wrap(self, self._card)

    def bind(self, row: Row, theme: Theme, opened: bool) -> None:
        assert isinstance(row, ReasoningRow)
        part = row.part
        self._opened = opened
        self._head.show_open(opened)
        spent = part.seconds if part.ended else max(time.time() - part.began, 0.0)
        self._head.title.setText(self.tr("Thinking…") if part.open else self.tr("Thought"))
        meta = took(spent)
        if part.tokens:
            meta += f" · {count(part.tokens, 'token')}"
        self._head.state.setText(meta)
        gist = "" if opened else " ".join(part.text[:400].split())
        self._head.detail.setText(gist)
        self._head.setAccessibleName(f"{self._head.title.text()} {meta}")
        self._text.setVisible(opened)
        self._text.setFont(theme.body_font)
        if opened:
            self._text.show_text(part.text, follow=part.open)

    def height_at(self, width: int) -> int:
        if self._opened:
            self._text.setFixedHeight(self._text.height_at(self._card.inner_width(width)))
        return natural_height(self)

    def _toggle(self) -> None:
        self.actions_.toggled.emit(self.key, not self._opened)


class TextWidget(RowWidget):
    """One block of an answer: rendered Markdown."""

    def __init__(self, actions: ChatActions, parent: QWidget) -> None:
        super().__init__(actions, parent)
        self._text = RichText()
        self._text.setAccessibleName(self.tr("Answer"))
        _wrap(self, self._text)

    def bind(self, row: Row, theme: Theme, opened: bool) -> None:
        assert isinstance(row, TextRow)
        self._text.show_html(to_html(row.block.text), theme)

    def height_at(self, width: int) -> int:
        self._text.setFixedHeight(self._text.height_at(width))
        return natural_height(self)


class CodeWidget(RowWidget):
    """A fenced block: highlighted, with its language and a copy button."""

    def __init__(self, actions: ChatActions, parent: QWidget) -> None:
        super().__init__(actions, parent)
        self._code = ""
        self._card = Card("code")
        self._language = label("faint")
        self._copy = button(self.tr("Copy"), "copyCode", self.tr("Copy this code"), "quiet")
        self._copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self._code))
        self._text = RichText(wrap=False)
        self._text.setAccessibleName(self.tr("Code"))
        self._card.column.addLayout(line(self._language, None, self._copy))
        self._card.column.addWidget(self._text)
        _wrap(self, self._card)

    def bind(self, row: Row, theme: Theme, opened: bool) -> None:
        assert isinstance(row, TextRow)
        self._code = row.block.text
        language = row.block.language or ""
        self._language.setText(language or self.tr("text"))
        html = code_html(row.block.text, language, theme.dark)
        self._text.show_html(html, theme, theme.mono_font)

    def height_at(self, width: int) -> int:
        self._text.setFixedHeight(self._text.height_at(self._card.inner_width(width)))
        return natural_height(self)


class WaitWidget(RowWidget):
    """The prompt is being read; says how far and how long."""

    def __init__(self, actions: ChatActions, parent: QWidget) -> None:
        super().__init__(actions, parent)
        self._what = label("muted")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(8)
        self._bar.setMinimumWidth(48)  # the words come first
        self._bar.setMaximumWidth(180)
        self._bar.setAccessibleName(self.tr("Reading the prompt"))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 4)
        column.addLayout(line(self._what, self._bar, None))

    def bind(self, row: Row, theme: Theme, opened: bool) -> None:
        assert isinstance(row, WaitRow)
        self._bar.setVisible(row.total > 0)
        text = self.tr("Reading the prompt…")
        if row.total:
            self._bar.setMaximum(row.total)
            self._bar.setValue(row.done)
            text = self.tr("Reading the prompt: {done} of {total} tokens").format(
                done=f"{row.done:,}", total=f"{row.total:,}"
            )
            if row.seconds_left is not None:
                text += self.tr(", about {left} left").format(left=span(row.seconds_left))
        self._what.setText(text)

    def height_at(self, width: int) -> int:
        return natural_height(self)


class RemarkWidget(RowWidget):
    """One faint line; its whole text is under the pointer."""

    def __init__(self, actions: ChatActions, parent: QWidget) -> None:
        super().__init__(actions, parent)
        self._text = ElidedLabel("faint")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 2, 0, 2)
        column.addWidget(self._text)

    def bind(self, row: Row, theme: Theme, opened: bool) -> None:
        assert isinstance(row, RemarkRow)
        text = row.remark.text
        self._text.setText(" ".join(text[:1000].split()))
        self._text.setToolTip(text[:2000])
        self._text.setAccessibleName(text[:1000])

    def height_at(self, width: int) -> int:
        return natural_height(self)


class TroubleWidget(RowWidget):
    """Why a run ended without an answer, and the one thing to do about it."""

    def __init__(self, actions: ChatActions, parent: QWidget) -> None:
        super().__init__(actions, parent)
        self._turn = ""
        self._card = Card("trouble")
        self._title = label()
        self._message = RichText()
        self._continue = button(
            self.tr("Continue"), "continueRun", self.tr("Go on after the last finished step")
        )
        self._restart = button(
            self.tr("Restart engine"),
            "restartEngineCard",
            self.tr("Start the engine again"),
            "primary",
        )
        self._card.column.addWidget(self._title)
        self._card.column.addWidget(self._message)
        self._card.column.addLayout(line(self._restart, self._continue, None))
        self._continue.clicked.connect(lambda: self.actions_.resume_asked.emit(self._turn))
        self._restart.clicked.connect(self.actions_.restart_engine_asked)
        _wrap(self, self._card)

    def bind(self, row: Row, theme: Theme, opened: bool) -> None:
        assert isinstance(row, TroubleRow)
        self._turn = row.turn
        self._card.set_role("trouble" if row.severe else "note")
        font = theme.body_font
        font.setBold(True)
        self._title.setFont(font)
        self._title.setText(row.title)
        self._message.show_html(_paragraphs(sentence(row.message), sentence(row.hint)), theme)
        self._continue.setVisible(row.can_continue)
        self._restart.setVisible(row.engine_lost)

    def height_at(self, width: int) -> int:
        self._message.setFixedHeight(self._message.height_at(self._card.inner_width(width)))
        return natural_height(self)


class FooterWidget(RowWidget):
    """What a turn took; copy the answer, or have another one."""

    def __init__(self, actions: ChatActions, parent: QWidget) -> None:
        super().__init__(actions, parent)
        self._row: FooterRow | None = None
        self._copy = button(
            self.tr("Copy"), "copyAnswer", self.tr("Copy the answer as Markdown"), "quiet"
        )
        self._again = button(
            self.tr("Regenerate"),
            "regenerate",
            self.tr("Answer again; this answer is kept"),
            "quiet",
        )
        self._summary = ElidedLabel("faint")
        self._summary.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        foot = line(self._copy, self._again, self._summary, spacing=2)
        foot.setStretch(2, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 8)
        column.addLayout(foot)
        self._copy.clicked.connect(self._copy_answer)
        self._again.clicked.connect(self._regenerate)

    def bind(self, row: Row, theme: Theme, opened: bool) -> None:
        assert isinstance(row, FooterRow)
        self._row = row
        self._copy.setVisible(bool(row.answer))
        self._summary.setToolTip(row.summary)
        self._summary.setText(row.summary)

    def height_at(self, width: int) -> int:
        return natural_height(self)

    def _copy_answer(self) -> None:
        if self._row is not None:
            QGuiApplication.clipboard().setText(self._row.answer)

    def _regenerate(self) -> None:
        if self._row is not None:
            self.actions_.regenerate.emit(self._row.turn)


def _wrap(row: QWidget, content: QWidget) -> None:
    column = QVBoxLayout(row)
    column.setContentsMargins(0, 4, 0, 4)
    column.addWidget(content)


def _paragraphs(*texts: str) -> str:
    return "".join(f"<p>{escape(t)}</p>" for t in texts if t)
