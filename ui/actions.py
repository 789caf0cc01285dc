"""Every action of the window in one table: menus, shortcuts, tooltips and the list of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QGridLayout, QLabel, QVBoxLayout, QWidget


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """``id`` is also the object name. ``menu`` empty: shortcut only."""

    id: str
    menu: str
    text: str
    shortcut: str = ""
    tip: str = ""
    checkable: bool = False


ACTIONS = (
    ActionSpec("newConversation", "Conversation", "New conversation", "Ctrl+N"),
    ActionSpec("renameConversation", "Conversation", "Rename…", "F2"),
    ActionSpec("deleteConversation", "Conversation", "Delete", "Ctrl+Shift+D", "Can be undone"),
    ActionSpec("openFolder", "Conversation", "Choose folder for file tools…", "Ctrl+O"),
    ActionSpec("settings", "Conversation", "Settings…", "Ctrl+,", "Model, endpoints, guards"),
    ActionSpec("quit", "Conversation", "Quit", "Ctrl+Q"),
    ActionSpec("stop", "Run", "Stop now", "Esc"),
    ActionSpec("stopAfterStep", "Run", "Stop after this step", "Shift+Esc"),
    ActionSpec("pauseRun", "Run", "Pause", "F8"),
    ActionSpec("stepRun", "Run", "Step", "F10", "Go on to the next step"),
    ActionSpec("toggleBreakpoint", "Run", "Break at the chosen line", "F9"),
    ActionSpec("breakpoints", "Run", "Breakpoints", "Ctrl+F8", "Where a run pauses by itself"),
    ActionSpec("rerunWith", "Run", "Run again with…", "Ctrl+Alt+R", "Other model or settings"),
    ActionSpec("regenerateLast", "Run", "Regenerate the last answer", "Ctrl+R"),
    ActionSpec("openModel", "Run", "Model…", "Ctrl+Shift+O", "Which one is loaded, and how"),
    ActionSpec("restartEngine", "Run", "Restart engine", "Ctrl+Shift+R"),
    ActionSpec("servers", "Run", "MCP servers…", "Ctrl+Shift+M", "Tools of other programs"),
    ActionSpec("keepOnClose", "Run", "Keep running when the window is closed", "", "", True),
    ActionSpec("notify", "Run", "Notify when a run ends or asks", "", "", True),
    ActionSpec("showTrace", "View", "Trace", "Ctrl+T", "What the model got and gave", True),
    ActionSpec("showContext", "View", "Context", "Ctrl+M", "What fills the model's window", True),
    ActionSpec("showEngine", "View", "Engine", "Ctrl+E", "State, memory, log", True),
    ActionSpec(
        "approvals", "View", "Approvals…", "Ctrl+Shift+A", "Rules, unattended runs, the log"
    ),
    ActionSpec("showSidebar", "View", "Conversations", "Ctrl+B", "", True),
    ActionSpec("themeSystem", "Theme", "Follow the system", "", "", True),
    ActionSpec("themeLight", "Theme", "Light", "", "", True),
    ActionSpec("themeDark", "Theme", "Dark", "", "", True),
    ActionSpec("focusComposer", "View", "Write a message", "Ctrl+L"),
    ActionSpec("jumpLatest", "View", "Jump to the latest message", "Ctrl+End"),
    ActionSpec("shortcuts", "Help", "Keyboard shortcuts", "Ctrl+/"),
    ActionSpec("copyDiagnostics", "Help", "Copy diagnostics"),
    ActionSpec("about", "Help", "About Selenograph"),
)


def build_actions(owner: QWidget, handlers: dict[str, Callable[[], object]]) -> dict[str, QAction]:
    """A QAction for each row of the table; handlers are found by id, none may be missing."""
    made: dict[str, QAction] = {}
    for spec in ACTIONS:
        action = QAction(_tr(spec.text), owner)
        action.setObjectName(spec.id)
        action.setCheckable(spec.checkable)
        tip = _tr(spec.tip) if spec.tip else _tr(spec.text).rstrip("…")
        if spec.shortcut:
            action.setShortcut(QKeySequence(spec.shortcut))
            tip += f" ({spec.shortcut})"
        action.setToolTip(tip)
        action.triggered.connect(lambda _=False, h=handlers[spec.id]: h())
        owner.addAction(action)
        made[spec.id] = action
    return made


class ShortcutsDialog(QDialog):
    """All actions with their shortcuts."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("shortcutsDialog")
        self.setWindowTitle(self.tr("Keyboard shortcuts"))
        grid = QGridLayout()
        grid.setHorizontalSpacing(32)
        rows = [(s.text, s.shortcut) for s in ACTIONS if s.shortcut]
        rows += [("Send", "Enter"), ("New line", "Shift+Enter")]
        for i, (text, shortcut) in enumerate(rows):
            grid.addWidget(QLabel(_tr(text).rstrip("…")), i, 0)
            keys = QLabel(shortcut)
            keys.setProperty("role", "muted")
            grid.addWidget(keys, i, 1)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 24, 24, 16)
        column.addLayout(grid)
        column.addSpacing(8)
        column.addWidget(buttons)


def _tr(text: str) -> str:
    return QCoreApplication.translate("Actions", text)
