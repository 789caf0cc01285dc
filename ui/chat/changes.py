"""Changes of files in a tool's card: the diff, and a line for each change that can be undone."""

from __future__ import annotations

from PySide6.QtGui import QColor, QSyntaxHighlighter, QTextCharFormat
from PySide6.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from app.events import FileChanged
from app.state import ToolRun
from ui.chat.row_base import ChatActions, button, label, line, set_label_role
from ui.chat.text_widgets import PlainText
from ui.theme import Theme, current


class _Colours(QSyntaxHighlighter):
    def highlightBlock(self, text: str) -> None:
        """Added, removed and where: by the first character."""
        theme = current()
        colours = {"+": theme.good, "-": theme.bad, "@": theme.accent, "(": theme.muted}
        if text.startswith(("+++", "---")):
            colour = theme.muted
        else:
            colour = colours.get(text[:1], theme.text)
        style = QTextCharFormat()
        style.setForeground(QColor(colour))
        self.setFormat(0, len(text), style)


class DiffText(PlainText):
    """A unified diff in colours."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, max_height=280)
        self.setObjectName("diff")
        self.setAccessibleName(self.tr("Difference"))
        self._colours = _Colours(self.document())
        self._theme: Theme | None = None

    def show_diff(self, diff: str, theme: Theme) -> None:
        """Replace the content unless it is the same already."""
        self.setFont(theme.mono_font)
        self.show_text(diff)
        if self._theme is not theme:
            self._theme = theme
            self._colours.rehighlight()


class _ChangeLine(QWidget):
    """What became of one file, and the button that takes it back."""

    def __init__(self, actions: ChatActions) -> None:
        super().__init__()
        self._change = ""
        self._path = label()
        self._counts = label("faint")
        self._undo = button(
            self.tr("Undo this change"),
            "undoChange",
            self.tr("Put the file back as it was before this call"),
        )
        self._undo.clicked.connect(lambda: actions.undo_asked.emit(self._change))
        row = line(self._path, self._counts, None, self._undo)
        self.setLayout(row)

    def show_change(self, change: FileChanged, run: ToolRun) -> None:
        """Name it and count its lines."""
        self._change = change.change
        self._path.setText(change.path)
        lines = change.diff.split("\n")[2:]
        undone = change.change in run.undone
        added = sum(text.startswith("+") for text in lines)
        removed = sum(text.startswith("-") for text in lines)
        counts = f"+{added} −{removed}"
        self._counts.setText(self.tr("undone") if undone else counts)
        set_label_role(self._counts, "warn" if undone else "faint")
        self._undo.setVisible(run.can_undo(change))

    @property
    def parts(self) -> tuple[QLabel, QPushButton]:
        """Its counts and its button."""
        return self._counts, self._undo


class Changes(QWidget):
    """All changes of a call."""

    def __init__(self, actions: ChatActions) -> None:
        super().__init__()
        self._actions = actions
        self._lines: list[_ChangeLine] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)

    def show_run(self, run: ToolRun | None) -> None:
        """Hidden where there are none."""
        changes = run.changes if run else ()
        self.setVisible(bool(changes))
        while len(self._lines) < len(changes):
            self._lines.append(_ChangeLine(self._actions))
            self._column.addWidget(self._lines[-1])
        for i, row in enumerate(self._lines):
            row.setVisible(i < len(changes))
            if run is not None and i < len(changes):
                row.show_change(changes[i], run)
