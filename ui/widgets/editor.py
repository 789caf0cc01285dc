"""A form in a dialog of its own: what is written in it is handed over only if it is right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from PySide6.QtCore import QEvent, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLineEdit,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from app.errors import ConfigError
from ui.chat.row_base import label
from ui.words import sentence

Made = TypeVar("Made")


class Editor(QDialog):
    """Signals: ``saved(object)``, what :meth:`read` made."""

    saved = Signal(object)

    def __init__(self, name: str, title: str, parent: QWidget | None = None) -> None:
        """``name``: of the thing, for object names."""
        super().__init__(parent)
        self.setObjectName(f"{name}Editor")
        self.setWindowTitle(title)
        self.setMinimumWidth(460)
        self.form = QFormLayout()
        self.form.setHorizontalSpacing(16)
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._problem = label("bad")
        self._problem.setObjectName(f"{name}Problem")
        self._problem.setWordWrap(True)
        kinds = QDialogButtonBox.StandardButton
        self._buttons = QDialogButtonBox(kinds.Save | kinds.Cancel)
        self._buttons.button(kinds.Save).setObjectName(f"save{name.capitalize()}")
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)

    def add_row(self, words: str, widget: QWidget, field: QWidget | None = None) -> None:
        """A row of the form. ``field``: what of the widget is written in."""
        named = field or widget
        if words and not named.accessibleName():
            named.setAccessibleName(words)
        self.form.addRow(words, widget)

    def rename_row(self, widget: QWidget, words: str) -> None:
        """Another name for a row."""
        widget.setAccessibleName(words)
        title = self.form.labelForField(widget)
        if title is not None:
            title.setProperty("text", words)

    def lay_out(self, *below: QWidget, above: QWidget | None = None) -> None:
        """Put it together; ``above`` and ``below`` the form. Call it once."""
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 16, 20, 12)
        if above is not None:
            column.addWidget(above)
        column.addLayout(self.form)
        for widget in (*below, self._problem):
            column.addWidget(widget)
        column.addStretch(1)
        column.addWidget(self._buttons)

    def read(self) -> object:
        """What is written. Raises ConfigError where it cannot be used."""
        raise NotImplementedError

    def check(self, read: Callable[[], Made]) -> Made | None:
        """What is read; None: it cannot be used, and a line says why."""
        try:
            made = read()
        except ConfigError as error:
            hint = f" ({error.hint})" if error.hint else ""
            self.say(sentence(f"{error.message}{hint}"))
            return None
        self.say("")
        return made

    def say(self, problem: str) -> None:
        """What is wrong; empty: nothing."""
        self._problem.setText(problem)

    def event(self, event: QEvent) -> bool:
        """Grow with what is shown in it: a layout makes no room for lines that are wrapped."""
        layout = self.layout() if event.type() == QEvent.Type.LayoutRequest else None
        done = super().event(event)  # which may be the last: another event deletes it
        if layout is not None:
            height = layout.totalHeightForWidth(self.width())
            if height > self.height():
                self.resize(self.width(), height)
        return done

    def accept(self) -> None:
        """Hand it over, if it is right."""
        made = self.check(self.read)
        if made is not None:
            super().accept()
            self.saved.emit(made)


def text_line(name: str, text: str, hint: str = "") -> QLineEdit:
    """One line. ``hint``: what stands there while it is empty."""
    made = QLineEdit(text)
    made.setObjectName(name)
    made.setPlaceholderText(hint)
    return made


def text_lines(name: str, text: str, count: int, hint: str = "") -> QPlainTextEdit:
    """As many lines as are seen at once; Tab leaves it."""
    made = QPlainTextEdit(text)
    made.setObjectName(name)
    made.setPlaceholderText(hint)
    made.setTabChangesFocus(True)
    made.setFixedHeight(made.fontMetrics().lineSpacing() * count + 22)
    return made


def choice(name: str, items: Iterable[tuple[str, object]], value: object) -> QComboBox:
    """One of some, each as its words and its value; the first where the value is none of them."""
    made = QComboBox()
    made.setObjectName(name)
    for words, data in items:
        made.addItem(words, data)
    made.setCurrentIndex(max(made.findData(value), 0))
    return made
