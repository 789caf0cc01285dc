"""Where the person writes, and chooses effort, tools and folder."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QDragEnterEvent, QDropEvent, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QComboBox, QMenu, QPlainTextEdit, QToolButton, QWidget

from app.events import Effort, RunSettings
from ui.chat.row_base import Card, button, line

_TOOLS = {
    "calculator": "Calculator",
    "python": "Python (asks before it runs)",
    "shell": "Shell (asks before it runs)",
    "list_files": "List files",
    "read_file": "Read files",
    "search_files": "Search files",
    "write_file": "Write files (asks, shows the change)",
    "edit_file": "Edit files (asks, shows the change)",
    "web_search": "Search documents or the web",
    "open_page": "Open pages (asks before it fetches)",
    "next_page": "Turn pages",
    "find_in_page": "Find in pages",
}
_EFFORTS = {
    "fast": "Fast",
    "standard": "Standard",
    "deep": "Deep",
    "exam": "Exam",
    "search": "Search",
    "heavy": "Heavy",
}
_NARROW = 440
_LANES = (2, 3, 4, 6, 8, 12, 16)


class Editor(QPlainTextEdit):
    """Grows with its text. Signals: ``submitted`` on Enter."""

    submitted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("composer")
        self.setAccessibleName(self.tr("Message"))
        self.setPlaceholderText(self.tr("Ask something… (Enter sends)"))
        self.setTabChangesFocus(True)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setAcceptDrops(False)  # dropped folders belong to the composer
        self.textChanged.connect(self._grow)
        self._grow()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter sends; with Shift it breaks the line."""
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if enter and not event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.submitted.emit()
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: object) -> None:
        """Another width wraps otherwise."""
        super().resizeEvent(event)  # type: ignore[arg-type]
        self._grow()

    def _grow(self) -> None:
        lines = min(max(int(self.document().size().height()), 1), 8)
        self.setFixedHeight(lines * self.fontMetrics().lineSpacing() + 22)


class Composer(Card):
    """Signals: ``sent(text)``, ``queued(text)`` while a run goes on, ``stopped``,
    ``stopped_after_step``, ``folder_chosen(path)``, ``folder_wanted``,
    ``settings_changed(RunSettings)``."""

    sent = Signal(str)
    queued = Signal(str)
    stopped = Signal()
    stopped_after_step = Signal()
    folder_chosen = Signal(str)
    folder_wanted = Signal()
    settings_changed = Signal(object)

    def __init__(
        self,
        settings: RunSettings,
        servers: tuple[str, ...] = (),
        parent: QWidget | None = None,
    ) -> None:
        """``servers``: MCP servers whose tools may be chosen."""
        super().__init__("card", parent)
        self.setAcceptDrops(True)
        self._choices = self._choices_with(servers)
        self._settings = settings
        self._drafts: dict[str, str] = {}
        self._conversation = ""
        self._running = False
        self.editor = Editor()
        self.editor.submitted.connect(self.submit)
        self.editor.textChanged.connect(self._show_state)
        self._folder = QToolButton()
        self._folder.setObjectName("chooseFolder")
        self._folder.setProperty("role", "quiet")
        self._folder.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self._folder.clicked.connect(self.folder_wanted)
        self._tools = self._tools_button()
        self._effort = self._effort_box()
        self._lanes = self._lanes_box()
        self._stop = self._stop_button()
        self._send = button(self.tr("Send"), "send", self.tr("Send (Enter)"), "primary")
        self._send.clicked.connect(self.submit)
        self.column.addWidget(self.editor)
        self._choices_line = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._choices_line.setSpacing(4)
        self._choices_line.addLayout(line(self._folder, self._tools, None, spacing=4))
        rest = line(self._effort, self._lanes, None, self._stop, self._send, spacing=4)
        self._choices_line.addLayout(rest, 1)
        self.column.addLayout(self._choices_line)
        self.set_folder("")
        self._show_state()

    def _choices_with(self, servers: tuple[str, ...]) -> dict[str, str]:
        text = self.tr("All tools of {server} (asks before each call)")
        return _TOOLS | {f"{name}__*": text.format(server=name) for name in servers}

    def set_servers(self, servers: tuple[str, ...]) -> None:
        """The MCP servers whose tools may be chosen are others now."""
        self._choices = self._choices_with(servers)
        old = self._tools.menu()
        self._fill_tools(self._tools)
        old.deleteLater()

    @property
    def settings(self) -> RunSettings:
        """What the next turn is run with."""
        return self._settings

    def set_endpoint(self, id: str) -> None:
        """Another endpoint answers the next turn, with its own model."""
        self._change(backend=id, model="")

    def show_conversation(self, conversation: str) -> None:
        """Keep the draft of the one before, bring back this one's."""
        if conversation == self._conversation:
            return
        self._drafts[self._conversation] = self.editor.toPlainText()
        self._conversation = conversation
        self.editor.setPlainText(self._drafts.pop(conversation, ""))

    def set_running(self, running: bool, stopping: bool = False) -> None:
        """While a run goes on there is a stop button, and what is sent waits for the next step."""
        self._running = running
        self._stop.setText(self.tr("Stopping…") if stopping else self.tr("Stop"))
        self._show_state()

    def set_folder(self, folder: str) -> None:
        """Show the folder that file tools may read."""
        name = Path(folder).name if folder else ""
        shown = self.tr("Folder: {name}").format(name=name) if name else self.tr("No folder")
        self._folder.setText(shown)
        tip = self.tr("File tools may read: {folder}").format(folder=folder)
        self._folder.setToolTip(
            tip if folder else self.tr("Choose the folder that file tools may read (Ctrl+O)")
        )
        self._folder.setAccessibleName(self._folder.toolTip())

    def submit(self) -> None:
        """Send what is written."""
        text = self.editor.toPlainText().strip()
        if text:
            self.editor.clear()
            (self.queued if self._running else self.sent).emit(text)

    def write(self, text: str) -> None:
        """Put text into the editor and the cursor behind it."""
        self.editor.setPlainText(text)
        self.editor.moveCursor(self.editor.textCursor().MoveOperation.End)
        self.editor.setFocus()

    def add(self, text: str) -> None:
        """Put text behind what is written."""
        self.write("\n\n".join(filter(None, (self.editor.toPlainText().strip(), text))))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Where it is narrow, the choices take two lines."""
        super().resizeEvent(event)
        kinds = QBoxLayout.Direction
        narrow = event.size().width() < _NARROW
        self._choices_line.setDirection(kinds.TopToBottom if narrow else kinds.LeftToRight)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """A folder may be dropped here."""
        if _dropped_folder(event) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Take it as the conversation's folder."""
        folder = _dropped_folder(event)
        if folder is not None:
            self.folder_chosen.emit(folder)

    def _show_state(self) -> None:
        written = bool(self.editor.toPlainText().strip())
        self._stop.setVisible(self._running)
        self._send.setVisible(written or not self._running)
        self._send.setEnabled(written)
        queue = self.tr("The model hears it before its next step (Enter)")
        self._send.setText(self.tr("Queue") if self._running else self.tr("Send"))
        self._send.setToolTip(queue if self._running else self.tr("Send (Enter)"))
        self.editor.setPlaceholderText(
            self.tr("For the next step… (Enter queues)")
            if self._running
            else self.tr("Ask something… (Enter sends)")
        )

    def _tools_button(self) -> QToolButton:
        made = QToolButton()
        made.setObjectName("tools")
        made.setProperty("role", "quiet")
        made.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        made.setToolTip(self.tr("Which tools the model may call"))
        self._fill_tools(made)
        return made

    def _fill_tools(self, made: QToolButton) -> None:
        menu = QMenu(made)
        for name, text in self._choices.items():
            action = QAction(self.tr(text), menu)
            action.setObjectName(f"tool_{name}")
            action.setCheckable(True)
            action.setChecked(name in self._settings.tools)
            action.toggled.connect(lambda _on: self._tools_changed())
            menu.addAction(action)
        made.setMenu(menu)
        made.setText(self._tools_text(len(self._settings.tools)))

    def _tools_text(self, count: int) -> str:
        text = self.tr("Tools: {n}").format(n=count) if count else self.tr("No tools")
        return f"{text} ▾"

    def _tools_changed(self) -> None:
        actions = self._tools.menu().actions()
        pairs = zip(self._choices, actions, strict=True)
        chosen = tuple(name for name, action in pairs if action.isChecked())
        # What the menu does not name was set elsewhere and stays.
        chosen += tuple(name for name in self._settings.tools if name not in self._choices)
        self._tools.setText(self._tools_text(len(chosen)))
        self._change(tools=chosen)

    def _effort_box(self) -> QComboBox:
        made = QComboBox()
        made.setObjectName("effort")
        made.setAccessibleName(self.tr("Effort"))
        made.setToolTip(self.tr("How long the model may think and how many steps it may take"))
        for value in get_args(Effort):
            made.addItem(self.tr(_EFFORTS[value]), value)
        made.setCurrentIndex(made.findData(self._settings.effort))
        made.currentIndexChanged.connect(lambda _: self._change(effort=made.currentData()))
        return made

    def _lanes_box(self) -> QComboBox:
        made = QComboBox()
        made.setObjectName("lanes")
        made.setAccessibleName(self.tr("Lanes"))
        made.setToolTip(self.tr("How many trajectories work on it side by side"))
        for count in sorted({*_LANES, max(self._settings.lanes, 2)}):
            made.addItem(f"×{count}", count)
        made.setCurrentIndex(made.findData(max(self._settings.lanes, 2)))
        made.currentIndexChanged.connect(lambda _: self._change(lanes=made.currentData()))
        made.setVisible(self._settings.effort == "heavy")
        return made

    def _change(self, **values: object) -> None:
        import msgspec

        self._settings = msgspec.structs.replace(self._settings, **values)
        self._lanes.setVisible(self._settings.effort == "heavy")
        self.settings_changed.emit(self._settings)

    def _stop_button(self) -> QToolButton:
        made = QToolButton()
        made.setObjectName("stop")
        made.setText(self.tr("Stop"))
        made.setToolTip(self.tr("Stop now (Esc)"))
        made.setAccessibleName(self.tr("Stop"))
        made.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)
        made.clicked.connect(self.stopped)
        menu = QMenu(made)
        after = menu.addAction(self.tr("Stop after this step (Shift+Esc)"))
        after.triggered.connect(self.stopped_after_step)
        made.setMenu(menu)
        return made


def _dropped_folder(event: QDropEvent) -> str | None:
    paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
    return paths[0] if len(paths) == 1 and Path(paths[0]).is_dir() else None
