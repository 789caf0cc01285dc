"""The conversation view: rows of the shown branch in a virtual list."""

from __future__ import annotations

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QStackedLayout, QVBoxLayout, QWidget

from app.engines.view import EngineView
from app.state import ConversationState
from ui.chat.artefacts import Gallery
from ui.chat.first_page import FirstPage
from ui.chat.lanes import LanesWidget
from ui.chat.message_rows import (
    CodeWidget,
    FooterWidget,
    ReasoningWidget,
    RemarkWidget,
    TextWidget,
    TroubleWidget,
    WaitWidget,
)
from ui.chat.row_base import ChatActions, RowWidget, button
from ui.chat.rows import (
    FooterRow,
    LanesRow,
    ReasoningRow,
    RemarkRow,
    Row,
    RowSource,
    TextRow,
    ToolRow,
    TroubleRow,
    UserRow,
    WaitRow,
)
from ui.chat.tool_row import ToolWidget
from ui.chat.user_row import UserWidget
from ui.chat.virtual_list import VirtualList
from ui.theme import Theme, current

_WIDGETS: dict[str, type[RowWidget]] = {
    "user": UserWidget,
    "wait": WaitWidget,
    "remark": RemarkWidget,
    "reasoning": ReasoningWidget,
    "text": TextWidget,
    "code": CodeWidget,
    "lanes": LanesWidget,
    "tool": ToolWidget,
    "trouble": TroubleWidget,
    "footer": FooterWidget,
}
_CLOCK_MS = 500


class ChatView(QWidget):
    """Shows one conversation. Signals as named; keys are ids of turns, steps, parts and calls."""

    decided = Signal(object)
    undoAsked = Signal(str)
    regenerate = Signal(str)
    edited = Signal(str, str)
    branchSelected = Signal(str)
    resumeAsked = Signal(str)
    restartEngineAsked = Signal()
    selected = Signal(str)
    """Somebody wants to see it in the trace."""
    glanced = Signal(str)
    """It was opened or closed; the trace may follow where it is shown."""
    examplePicked = Signal(str)
    laneStopped = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = ConversationState()
        self._theme = current()
        self._source = RowSource()
        self._opened: dict[str, bool] = {}
        self._actions = self._connected_actions()
        self._list = VirtualList(self._make, _kind_of, self._bind, _estimate)
        self._list.setObjectName("chatList")
        self._list.setAccessibleName(self.tr("Conversation"))
        self._first = FirstPage()
        self._first.picked.connect(self.examplePicked)
        self._latest = button(
            self.tr("↓ Latest"), "jumpToLatest", self.tr("Jump to the latest message (End)")
        )
        self._latest.setParent(self)
        self._latest.hide()
        self._latest.clicked.connect(self.jump_to_latest)
        self._list.tail_changed.connect(lambda at_end: self._latest.setVisible(not at_end))
        self._stack = QStackedLayout()
        self._stack.addWidget(self._first)
        self._stack.addWidget(self._list)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._stack)
        self._clock = QTimer(self)
        self._clock.setInterval(_CLOCK_MS)
        self._clock.timeout.connect(self._list.refresh)

    def set_state(self, state: ConversationState) -> None:
        """Show a state; parts that are the same object as before cost nothing."""
        if state.id != self._state.id:
            self._opened.clear()
            self._source = RowSource()
            self._list.set_rows([])
            self._list.jump_to_end()
        self._state = state
        rows = self._source.rows(state)
        self._stack.setCurrentWidget(self._list if rows else self._first)
        self._list.set_rows(rows)
        if state.running:
            self._clock.start()
        else:
            self._clock.stop()

    def set_theme(self, theme: Theme) -> None:
        """Draw in another theme."""
        self._theme = theme
        self._first.set_theme(theme)
        self._list.forget_heights()
        self._list.refresh()

    def set_gallery(self, gallery: Gallery) -> None:
        """Where pictures and tables come from."""
        self._actions.gallery = gallery
        gallery.ready.connect(self._artefact_ready)

    def _artefact_ready(self, blob: str) -> None:
        self._list.forget_heights()
        self._list.refresh()

    def set_engine(self, view: EngineView | None) -> None:
        """Tell the first page whether there is somebody to talk to."""
        self._first.set_engine(view)

    def set_elsewhere(self, name: str) -> None:
        """The same where an endpoint answers instead of the engine; empty: none does."""
        self._first.set_elsewhere(name)

    def reveal(self, key: str) -> None:
        """Scroll to a turn, step, part or call."""
        for candidate in (key, f"{key}/user", f"{key}/0", *self._inside(key)):
            if self._list.reveal(candidate):
                return

    def jump_to_latest(self) -> None:
        """Follow the end again."""
        self._list.jump_to_end()

    def resizeEvent(self, event: object) -> None:
        """Keep the jump button in its corner."""
        super().resizeEvent(event)  # type: ignore[arg-type]
        size = self._latest.sizeHint()
        self._latest.setGeometry(
            self.width() - size.width() - 28,
            self.height() - size.height() - 12,
            size.width(),
            size.height(),
        )
        self._latest.raise_()

    def _inside(self, key: str) -> list[str]:
        """Keys of the rows of a step."""
        for turn in self._state.path():
            for step in turn.steps:
                if step.span == key and step.parts:
                    part = step.parts[0]
                    return [part.id, f"{part.id}/0", part.call]
        return []

    def _connected_actions(self) -> ChatActions:
        actions = ChatActions(self)
        actions.decided.connect(self.decided)
        actions.undo_asked.connect(self.undoAsked)
        actions.regenerate.connect(self.regenerate)
        actions.edited.connect(self.edited)
        actions.branch_selected.connect(self.branchSelected)
        actions.resume_asked.connect(self.resumeAsked)
        actions.restart_engine_asked.connect(self.restartEngineAsked)
        actions.selected.connect(self.selected)
        actions.lane_stopped.connect(self.laneStopped)
        actions.toggled.connect(self._toggle)
        actions.resized.connect(lambda key: self._list.resized(key))
        return actions

    def _make(self, kind: str) -> RowWidget:
        return _WIDGETS[kind](self._actions, self._list.viewport())

    def _bind(self, widget: RowWidget, row: Row) -> None:
        widget.bind(row, self._theme, self._is_open(row))

    def _is_open(self, row: Row) -> bool:
        chosen = self._opened.get(row.key)
        if chosen is not None:
            return chosen
        if isinstance(row, ReasoningRow):
            return row.part.open
        if isinstance(row, LanesRow):
            return row.turn.status == "running" and not row.turn.steps
        if isinstance(row, ToolRow):
            return row.run is None or row.run.status is None
        return False

    def _toggle(self, key: str, opened: bool) -> None:
        self._opened[key] = opened
        self.glanced.emit(key)
        self._list.resized(key)


def _kind_of(row: Row) -> str:
    match row:
        case UserRow():
            return "user"
        case WaitRow():
            return "wait"
        case RemarkRow():
            return "remark"
        case ReasoningRow():
            return "reasoning"
        case TextRow():
            return "text" if row.block.language is None else "code"
        case LanesRow():
            return "lanes"
        case ToolRow():
            return "tool"
        case TroubleRow():
            return "trouble"
        case FooterRow():
            return "footer"


def _estimate(row: Row) -> int:
    match row:
        case UserRow():
            return 80 + len(row.turn.text) // 4
        case TextRow():
            return 36 + len(row.block.text) // 4
        case TroubleRow():
            return 120
        case _:
            return 46
