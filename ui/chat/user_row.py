"""The row of what the person wrote."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from ui.chat.row_base import Card, ChatActions, RowWidget, button, label, line, natural_height
from ui.chat.rows import Row, UserRow
from ui.chat.text_widgets import PlainText
from ui.theme import Theme


class UserWidget(RowWidget):
    """A user message, with edit-and-resend and the branch switcher."""

    def __init__(self, actions: ChatActions, parent: QWidget) -> None:
        super().__init__(actions, parent)
        self._row: UserRow | None = None
        self._card = Card("user")
        self._text = PlainText(max_height=480)
        self._text.setViewportMargins(0, 3, 0, 0)  # its room below, so that it stands in the middle
        self._text.setAccessibleName(self.tr("Your message"))
        self._editor = QPlainTextEdit()
        self._editor.setObjectName("editMessage")
        self._editor.setAccessibleName(self.tr("Edit message"))
        self._save = button(
            self.tr("Send again"), "resendEdited", self.tr("Send the edited message"), "primary"
        )
        self._cancel = button(self.tr("Cancel"), "cancelEdit", self.tr("Keep the message as it is"))
        self._edit_line = QWidget()
        self._edit_line.setLayout(line(None, self._cancel, self._save))
        self._previous = button("‹", "previousBranch", self.tr("Previous version"), "quiet")
        self._next = button("›", "nextBranch", self.tr("Next version"), "quiet")
        self._place = label("faint")
        self._edit = button(
            self.tr("Edit"), "editUserMessage", self.tr("Edit and send again"), "quiet"
        )
        self._tools = QWidget()
        self._tools.setLayout(
            line(None, self._previous, self._place, self._next, self._edit, spacing=2)
        )
        head = QHBoxLayout()
        head.addWidget(self._text, 1, Qt.AlignmentFlag.AlignVCenter)
        head.addWidget(self._tools, 0, Qt.AlignmentFlag.AlignTop)
        self._card.column.addLayout(head)
        self._card.column.addWidget(self._editor)
        self._card.column.addWidget(self._edit_line)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 16, 0, 4)
        column.addWidget(self._card)
        self._edit.clicked.connect(lambda: self._set_editing(True))
        self._cancel.clicked.connect(lambda: self._set_editing(False))
        self._save.clicked.connect(self._resend)
        self._previous.clicked.connect(lambda: self._branch(-1))
        self._next.clicked.connect(lambda: self._branch(1))

    def bind(self, row: Row, theme: Theme, opened: bool) -> None:
        assert isinstance(row, UserRow)
        same = self._row is not None and self._row.turn.id == row.turn.id
        self._row = row
        self._text.setFont(theme.body_font)
        self._text.show_text(row.turn.text)
        count = len(row.siblings)
        for widget in (self._previous, self._place, self._next):
            widget.setVisible(count > 1)
        at = row.siblings.index(row.turn.id)
        self._place.setText(f"{at + 1}/{count}")
        self._previous.setEnabled(at > 0)
        self._next.setEnabled(at + 1 < count)
        self._edit.setEnabled(row.turn.status != "running")
        if not same:
            self._set_editing(False, tell=False)

    def height_at(self, width: int) -> int:
        inner = self._card.inner_width(width)
        if self._editor.isVisibleTo(self):
            lines = max(self._editor.document().blockCount(), 2)
            self._editor.setFixedHeight(min(lines, 12) * self.fontMetrics().lineSpacing() + 24)
        else:
            tools = self._tools.sizeHint().width() + 8
            self._text.setFixedHeight(self._text.height_at(max(inner - tools, 60)))
        return natural_height(self)

    def _set_editing(self, editing: bool, tell: bool = True) -> None:
        self._text.setVisible(not editing)
        self._editor.setVisible(editing)
        self._edit_line.setVisible(editing)
        self._tools.setVisible(not editing)
        if editing and self._row is not None:
            self._editor.setPlainText(self._row.turn.text)
            self._editor.setFocus()
        if tell:
            self.actions_.resized.emit(self.key)

    def _resend(self) -> None:
        text = self._editor.toPlainText().strip()
        if self._row is not None and text:
            self._set_editing(False)
            self.actions_.edited.emit(self._row.turn.id, text)

    def _branch(self, step: int) -> None:
        if self._row is not None:
            at = self._row.siblings.index(self._row.turn.id) + step
            self.actions_.branch_selected.emit(self._row.siblings[at])
