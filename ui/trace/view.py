"""The trace inspector: a tree of turns and steps, and the details of what is selected."""

from __future__ import annotations

import re
from collections.abc import Callable

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QHeaderView,
    QLayout,
    QSplitter,
    QStackedLayout,
    QTreeView,
    QVBoxLayout,
    QWidget,
)

from app.state import ConversationState, Step, ToolRun, Turn
from ui.chat.row_base import label
from ui.theme import Theme
from ui.trace import pages
from ui.trace.details import Details
from ui.trace.nodes import NodeSource
from ui.trace.tree import KEY, TraceModel

_TICK_MS = 500
_NOTHING = (None, None, None)
_INSIDE = re.compile(r"/(prompt|remark\d+)$")
"""What follows a step's span in the keys of lines that have none of their own."""


class TraceView(QWidget):
    """Signals: ``selected(key)`` when a person picks a line, ``menu_asked(key, place)``."""

    selected = Signal(str)
    menu_asked = Signal(str, QPoint)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = ConversationState()
        self._source = NodeSource()
        self._model = TraceModel()
        self._quiet = False
        self._follow = True
        self._opened = QPersistentModelIndex()
        """The step that was opened as it began, and is closed when the next one begins."""
        self.tree = QTreeView()
        self.tree.setObjectName("traceTree")
        self.tree.setAccessibleName(self.tr("Steps"))
        self.tree.setModel(self._model)
        self.tree.setUniformRowHeights(True)
        self.tree.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.tree.setIndentation(14)
        header = self.tree.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            header.resizeSection(column, 84 if column == 1 else 68)
        self.tree.selectionModel().currentChanged.connect(self._picked)
        self.tree.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.tree.customContextMenuRequested.connect(self._ask_menu)
        self._model.rowsInserted.connect(self._inserted)
        self.details = Details()
        self.details.tabs.currentChanged.connect(lambda _: self._show())
        splitter = QSplitter(Qt.Orientation.Vertical)
        splitter.addWidget(self.tree)
        splitter.addWidget(self.details)
        splitter.setSizes([280, 420])
        splitter.setChildrenCollapsible(False)
        self._empty = label("muted")
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._empty.setWordWrap(True)
        self._empty.setText(self.tr("Steps, prompts and tool calls appear here when a run begins."))
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._stack = QStackedLayout()
        self._column.addLayout(self._stack, 1)
        self._stack.addWidget(self._empty)
        self._stack.addWidget(splitter)
        self.setMinimumWidth(354)
        self._timer = QTimer(self)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._model.tick)

    def set_state(self, state: ConversationState) -> None:
        """Show a conversation; cheap when little changed."""
        if state is self._state:
            return
        other = state.id != self._state.id
        self._state = state
        if other:
            self._source = NodeSource()
            self._follow = True
            self._model.reset_to(self._source.nodes(state))
            self._open_last()
        else:
            self._model.set_nodes(self._source.nodes(state))
        self._open_newest()
        self._stack.setCurrentIndex(1 if state.turns else 0)
        if state.running != self._timer.isActive():
            self._timer.start() if state.running else self._timer.stop()
        if self._follow:
            self._select_latest()
        self._show()

    def set_theme(self, theme: Theme) -> None:
        """Fonts; colours are read when drawn."""
        self.details.set_theme(theme)
        self.tree.viewport().update()

    def reveal(self, key: str) -> None:
        """Select a turn, step, part or call."""
        index = self._model.find(key)
        if index.isValid():
            self._follow = False
            self._select(index)
            self._turn_to_page(key)
            self._show()

    def set_toolbar(self, bar: QLayout) -> None:
        """Above the tree."""
        self._column.insertLayout(0, bar)

    def chosen(self) -> tuple[Turn | None, Step | None, ToolRun | None]:
        """What the selected line is about."""
        index = self.tree.currentIndex()
        return self.about(index.siblingAtColumn(0).data(KEY)) if index.isValid() else _NOTHING

    # -- inside

    def _ask_menu(self, place: QPoint) -> None:
        index = self.tree.indexAt(place)
        if index.isValid():
            self._follow = False
            key = index.siblingAtColumn(0).data(KEY)
            self.menu_asked.emit(key, self.tree.viewport().mapToGlobal(place))

    def _picked(self, index: QModelIndex) -> None:
        if self._quiet or not index.isValid():
            return
        key = index.siblingAtColumn(0).data(KEY)
        # Who picks the newest line wants to keep up with the run.
        self._follow = index.siblingAtColumn(0) == self._latest()
        self._turn_to_page(key)
        self._show()
        self.selected.emit(key.removesuffix("/prompt"))

    def _select(self, index: QModelIndex) -> None:
        self._quiet = True
        self.tree.setCurrentIndex(index)
        self.tree.scrollTo(index)
        self._quiet = False

    def _latest(self) -> QModelIndex:
        """The last step of the last turn, or the turn while it has none."""
        turn = self._model.index(self._model.rowCount() - 1, 0)
        if not turn.isValid():
            return turn
        step = self._model.index(self._model.rowCount(turn) - 1, 0, turn)
        return step if step.isValid() else turn

    def _select_latest(self) -> None:
        index = self._latest()
        if index.isValid() and index != self.tree.currentIndex():
            self._select(index)
            self.details.show_page("response")

    def _open_last(self) -> None:
        last = self._model.index(self._model.rowCount() - 1, 0)
        if last.isValid():
            self.tree.expand(last)

    def _inserted(self, parent: QModelIndex, first: int, last: int) -> None:
        """Turns open by themselves; lanes stay a line each."""
        if parent.isValid() and not parent.parent().isValid():
            self.tree.expand(parent)

    def _open_newest(self) -> None:
        """The newest step, in the place of the one before."""
        step = self._latest()
        if step == self._opened or not self._model.is_step(step):
            return
        if not self._model.rowCount(step):
            return
        if self._follow and self._opened.isValid():
            self.tree.collapse(self._opened)
        self._opened = QPersistentModelIndex(step)
        self.tree.expand(step)

    def _turn_to_page(self, key: str) -> None:
        turn, step, run = self.about(key)
        if key.endswith("/prompt"):
            self.details.show_page("prompt")
        elif run is not None:
            self.details.show_page("tool")
        elif step is not None:
            self.details.show_page("response")
        elif turn is not None:
            self.details.show_page("settings")

    def about(self, key: str) -> tuple[Turn | None, Step | None, ToolRun | None]:
        """What a key names."""
        if not key:
            return _NOTHING
        span = _INSIDE.sub("", key)
        for turn in (one for main in self._state.path() for one in (main, *main.lanes)):
            if turn.id == key:
                return turn, None, None
            # Lanes name their calls alike, so theirs go by their lane.
            call = key.removeprefix(f"{turn.id}/")
            own = call != key if turn.number else True
            for step in turn.steps:
                if step.span == span:
                    return turn, step, None
                for run in step.tools if own else ():
                    if run.call == call:
                        return turn, step, run
                for part in step.parts:
                    if part.id == key or (own and part.call == call):
                        return turn, step, None
        return _NOTHING

    def _show(self) -> None:
        """Fill the shown tab for the selected line."""
        index = self.tree.currentIndex()
        key = index.siblingAtColumn(0).data(KEY) if index.isValid() else ""
        turn, step, run = self.about(key)
        if turn is not None and step is None and turn.steps:
            step = turn.steps[-1]
        call = step.call if step else None
        runs = (run,) if run else step.tools if step else ()
        texts: dict[str, Callable[[], str]] = {
            "prompt": lambda: pages.prompt(call),
            "response": lambda: pages.response(step),
            "tool": lambda: pages.tools(runs),
            "timings": lambda: pages.timings(call),
            "settings": lambda: pages.settings(turn, call),
            "messages": lambda: pages.messages(call),
        }
        # Only what is seen is made: a long prompt as JSON takes longer than a frame.
        name = self.details.current
        self.details.pages[name].show_text(texts[name]())
