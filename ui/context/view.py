"""The context panel: the bar, what each kind takes, and what was decided about it, with reasons."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QGridLayout,
    QHeaderView,
    QStackedLayout,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app.agent.context_map import ContextMap
from app.state import ConversationState, Turn
from ui.chat.row_base import label
from ui.context.bar import NAMES, ContextBar, colour_of
from ui.context.lane_choice import LaneChoice
from ui.theme import Theme, current

_WAIT_MS = 300
_SPAN = int(Qt.ItemDataRole.UserRole)


class _Swatch(QWidget):
    def __init__(self, colour: QColor) -> None:
        super().__init__()
        self._colour = colour

    def sizeHint(self) -> QSize:
        return QSize(10, 10)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        top = (self.height() - 10) // 2
        painter.fillRect(QRectF(0, top, 10, 10), self._colour)
        painter.setPen(QColor(current().border))
        painter.drawRect(QRectF(0.5, top + 0.5, 9, 9))


class ContextView(QWidget):
    """Signals: ``wanted`` when the map should be drawn anew, ``selected(key)``."""

    wanted = Signal()
    selected = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._map = ContextMap()
        self._mark: object = None
        self._state = ConversationState()
        self.lanes = LaneChoice()
        self.lanes.chosen.connect(self._draw_other)
        self._sum = label()
        self._sum.setObjectName("contextSum")
        self._how = label("faint")
        self._how.setWordWrap(True)
        self.bar = ContextBar()
        self.bar.picked.connect(self.selected)
        self._legend = QWidget()
        self._grid = QGridLayout(self._legend)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(3)
        self._grid.setColumnStretch(1, 1)
        self.decisions = self._make_decisions()
        self._title = label("muted")
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(12, 12, 12, 8)
        column.setSpacing(8)
        for widget in (self.lanes, self._sum, self.bar, self._legend, self._how, self._title):
            column.addWidget(widget)
        column.addWidget(self.decisions, 1)
        column.addStretch()  # where there are none
        self._empty = label("muted")
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._empty.setWordWrap(True)
        self._empty.setText(self.tr("What the model reads is measured here once a run begins."))
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._empty)
        self._stack.addWidget(body)
        self.setMinimumWidth(354)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_WAIT_MS)
        self._timer.timeout.connect(self.wanted)

    def set_state(self, state: ConversationState) -> None:
        """Ask for a new map where the state calls for one; deltas do not."""
        self._state = state
        path = state.path()
        self.lanes.show_turn(path[-1] if path else None)
        shown = state.turn(self.lanes.lane) or (path[-1] if path else None)
        mark = (state.id, shown and _mark(shown))
        if not path:
            self._mark = mark
            self.set_map(ContextMap())
        elif mark != self._mark:
            self._mark = mark
            self._timer.start()

    def follow(self, turn: Turn) -> None:
        """Somebody looks at a turn or a lane elsewhere."""
        before = self.lanes.lane
        self.lanes.follow(turn)
        if self.lanes.lane != before and self.isVisible():
            self._draw_other()

    def _draw_other(self) -> None:
        """At once: a person waits for it."""
        self.set_state(self._state)
        self._timer.stop()
        self.wanted.emit()

    def set_map(self, found: ContextMap) -> None:
        """Show a map."""
        self._map = found
        self._stack.setCurrentIndex(1 if found.slices else 0)
        self.bar.set_map(found)
        used = f"{found.used:,}"
        self._sum.setText(
            self.tr("{used} of {window:,} tokens · {free:,} free").format(
                used=used, window=found.window, free=found.free
            )
            if found.window
            else self.tr("{used} tokens; the window's size is not known").format(used=used)
        )
        how = [self.tr("Counted by the model's tokenizer.") if found.measured else self.tr(
            "Guessed from lengths: no tokenizer is at hand."
        )]  # fmt: skip
        if found.cached:
            how.append(self.tr("Green line: cached, {n:,} tokens.").format(n=found.cached))
        if any(one.next for one in found.slices):
            how.append(self.tr("Triangle: the result that would be hidden first."))
        self._how.setText(" ".join(how))
        self._show_legend()
        self._show_decisions()

    def set_theme(self, theme: Theme) -> None:
        """Colours and fonts."""
        bold = theme.body_font
        bold.setBold(True)
        self._sum.setFont(bold)
        self._how.setFont(theme.small_font)
        self._show_legend()
        self.bar.update()

    def _show_legend(self) -> None:
        while self._grid.count():
            old = self._grid.takeAt(0)
            widget = old.widget() if old else None
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        sums = dict.fromkeys(NAMES, 0)
        for one in self._map.slices:
            sums[one.kind] += one.tokens
        rows = [(colour_of(k), self.tr(NAMES[k]), n) for k, n in sums.items() if n]
        if self._map.window:
            rows.append((QColor(current().code_bg), self.tr("Free"), self._map.free))
        whole = max(self._map.window, self._map.used, 1)
        for i, (colour, name, tokens) in enumerate(rows):
            words, count, share = label(), label(), label("muted")
            words.setText(name)
            count.setText(f"{tokens:,}")
            share.setText(f"{tokens / whole:.1%}")
            self._grid.addWidget(_Swatch(colour), i, 0)
            for column, widget in ((1, words), (2, count), (3, share)):
                side = Qt.AlignmentFlag.AlignRight if column > 1 else Qt.AlignmentFlag.AlignLeft
                self._grid.addWidget(widget, i, column, side)

    def _make_decisions(self) -> QTreeWidget:
        made = QTreeWidget()
        made.setObjectName("contextDecisions")
        made.setAccessibleName(self.tr("Decisions"))
        made.setRootIsDecorated(False)
        made.setHeaderLabels([self.tr("Step"), self.tr("Decision"), self.tr("Reason")])
        made.setUniformRowHeights(True)
        header = made.header()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
        header.resizeSection(0, 48)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(False)
        # Enter does what a click does.
        made.itemActivated.connect(lambda item: self.selected.emit(item.data(0, _SPAN)))
        made.itemClicked.connect(lambda item: self.selected.emit(item.data(0, _SPAN)))
        return made

    def _show_decisions(self) -> None:
        found = self._map.decisions
        self._title.setText(
            self.tr("What was decided") if found else self.tr("Nothing was hidden or summed up.")
        )
        self.decisions.setVisible(bool(found))
        self.decisions.clear()
        for one in found:
            item = QTreeWidgetItem([f"{one.step or ''}", one.what, one.reason])
            item.setData(0, _SPAN, one.span)
            for column in (1, 2):
                item.setToolTip(column, f"{one.what}\n{one.reason}")
            self.decisions.addTopLevelItem(item)


def _mark(turn: Turn) -> object:
    """Another one, another map."""
    step = turn.steps[-1] if turn.steps else None
    return (
        turn.id,
        len(turn.steps),
        sum(tool.status is not None for tool in step.tools) if step else 0,
        bool(step and step.call and step.call.ended),
        len(turn.context),
        bool(turn.ended),
    )
