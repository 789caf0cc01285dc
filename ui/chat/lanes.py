"""The lanes of a heavy run: a card each, a line for all of them when they are done."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from app.agent.history import thought_of
from app.state import Part, Turn
from ui.chat.header_button import HeaderButton
from ui.chat.row_base import (
    Card,
    ChatActions,
    ElidedLabel,
    RowWidget,
    button,
    label,
    line,
    natural_height,
    set_label_role,
)
from ui.chat.rows import LanesRow, Row
from ui.theme import Theme

_CARD = 156
"""The least width of a card."""
_GAP = 6


@dataclass(frozen=True, slots=True)
class LaneWords:
    """What a card says. ``role`` colours the state."""

    state: str
    role: str
    meta: str
    gist: str


def words_of(lane: Turn, turn: Turn) -> LaneWords:
    """Of a lane as it stands now."""
    tokens = sum(c.usage.completion_tokens for s in lane.steps for c in s.calls)
    writing = (s for s in lane.steps[-1:] if s.call and not s.call.ended)
    tokens += sum(p.tokens for s in writing for p in s.parts if not p.discarded)
    count = len(lane.steps)
    meta = f"step {count}" if lane.status == "running" else f"{count} step{'s' * (count != 1)}"
    if tokens:
        meta += f" · {tokens:,} tok"
    state, role, gist = _running(lane) if lane.status == "running" else _ended(lane, turn)
    return LaneWords(state, role, meta if count else "", gist)


def _running(lane: Turn) -> tuple[str, str, str]:
    step = lane.steps[-1] if lane.steps else None
    if lane.paused is not None:
        return "paused" if lane.away is None else "waits", "warn", lane.paused.reason
    if step is None:
        return "begins", "faint", ""
    open_part = next((p for p in reversed(step.parts) if p.open), None)
    tool = next((t for t in step.tools if t.status is None), None)
    gist = _last_line(_text(open_part) or thought_of(step))
    if tool is not None:
        if tool.waiting:
            return "waits for you", "warn", f"{tool.name} {tool.arguments}"
        return tool.name, "accent", tool.arguments
    if open_part is None:
        return ("reads" if not step.parts else "works"), "faint", gist
    what = {"reasoning": "thinks", "text": "answers", "tool_call": "calls a tool"}
    return what[open_part.kind], "accent", gist


def _ended(lane: Turn, turn: Turn) -> tuple[str, str, str]:
    end = lane.lane_end
    if not lane.answer.strip():
        why = (end.message or end.code) if end else ""
        return ("failed", "bad", why) if lane.status == "failed" else ("stopped", "warn", why)
    agreed = turn.agreement
    gist = _last_line(lane.answer)
    if agreed is not None and agreed.by != "nobody":
        same = lane.number in agreed.agree
        return ("agrees", "good", gist) if same else ("differs", "warn", gist)
    return ("cut short" if lane.status == "budget" else "answered"), "good", gist


def _text(part: Part | None) -> str:
    return part.text if part is not None else ""


def _last_line(text: str) -> str:
    lines = [piece.strip() for piece in text[-600:].splitlines() if piece.strip()]
    return lines[-1] if lines else ""


def agreement_words(turn: Turn) -> tuple[str, str]:
    """The badge and its colour role; empty where nothing was compared."""
    agreed = turn.agreement
    if agreed is None:
        return "", "faint"
    if agreed.by == "nobody":
        return "agreement not stated", "faint"
    most = 2 * len(agreed.agree) > agreed.of
    return f"{len(agreed.agree)} of {agreed.of} agree", "good" if most else "warn"


class LaneCard(Card):
    """One lane. Signals: ``picked(lane)``, ``stopped(lane)``."""

    picked = Signal(str)
    stopped = Signal(str)

    def __init__(self) -> None:
        super().__init__("lane")
        self.setObjectName("laneCard")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.lane = ""
        self._words = LaneWords("", "faint", "", "")
        self._number, self._state = label(), label()
        self._meta, self._gist = label("faint"), ElidedLabel("muted")
        self._stop = button("✕", "stopLane", self.tr("Stop this lane; the others go on"), "close")
        self._stop.setFixedSize(22, 20)
        self._stop.clicked.connect(lambda: self.stopped.emit(self.lane))
        self.column.setContentsMargins(10, 5, 6, 6)
        self.column.setSpacing(1)
        self.column.addLayout(line(self._number, self._state, None, self._stop, spacing=5))
        self.column.addWidget(self._gist)
        self.column.addWidget(self._meta)
        self._number.setMinimumHeight(20)

    def show_lane(self, lane: Turn, turn: Turn, theme: Theme) -> None:
        """Show a lane of a turn."""
        self.lane, self._words = lane.id, words_of(lane, turn)
        bold = theme.body_font
        bold.setBold(True)
        self._number.setFont(bold)
        self._number.setText(f"{lane.number}")
        self._state.setText(self._words.state)
        set_label_role(self._state, self._words.role)
        self._meta.setFont(theme.small_font)
        self._meta.setText(self._words.meta)
        self._stop.setVisible(lane.status == "running")
        name = self.tr("Lane {n}: {state}, {meta}. {gist}")
        said = name.format(
            n=lane.number, state=self._words.state, meta=self._words.meta, gist=self._words.gist
        )
        self.setAccessibleName(said)
        self.setToolTip(self._words.gist[:600])
        self._gist.setFont(theme.small_font)
        self._gist.setText(self._words.gist or " ")

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Open its trace."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.picked.emit(self.lane)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Open its trace by keyboard."""
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.picked.emit(self.lane)
        else:
            super().keyPressEvent(event)


class LanesWidget(RowWidget):
    """All lanes of a turn: cards while they are at work or when opened, else one line."""

    def __init__(self, actions: ChatActions, parent: QWidget) -> None:
        super().__init__(actions, parent)
        self._opened = False
        self._row: LanesRow | None = None
        self._cards: list[LaneCard] = []
        self._columns = 0
        self._head = HeaderButton("lanesHeader", self._toggle)
        # A label takes a frame only when it is made, so each colour has one of its own.
        self._badges = {role: label(f"badge-{role}") for role in ("good", "warn")}
        for badge in self._badges.values():
            self._head.add(badge)
        self._box = QWidget()
        self._grid = QGridLayout(self._box)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(_GAP)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 6)
        column.setSpacing(6)
        column.addWidget(self._head)
        column.addWidget(self._box)

    def bind(self, row: Row, theme: Theme, opened: bool) -> None:
        assert isinstance(row, LanesRow)
        self._row, self._opened = row, opened
        turn = row.turn
        while len(self._cards) < len(turn.lanes):
            card = LaneCard()
            card.picked.connect(self.actions_.selected)
            card.stopped.connect(self.actions_.lane_stopped)
            self._cards.append(card)
            self._columns = 0
        for i, card in enumerate(self._cards):
            card.setVisible(i < len(turn.lanes))
            if i < len(turn.lanes):
                card.show_lane(turn.lanes[i], turn, theme)
        self._head.show_open(opened)
        self._head.title.setText(self.tr("{n} lanes").format(n=len(turn.lanes)))
        self._head.detail.setText(_counts(turn))
        text, role = agreement_words(turn)
        self._head.state.setText("" if role in self._badges else text)
        for name, badge in self._badges.items():
            badge.setText(text)
            badge.setVisible(name == role and bool(text))
        self._head.setAccessibleName(f"{self._head.title.text()}, {_counts(turn)}, {text}")
        self._box.setVisible(opened)

    def height_at(self, width: int) -> int:
        count = len(self._row.turn.lanes) if self._row else 0
        most = max((width + _GAP) // (_CARD + _GAP), 1)
        rows = -(-count // most)
        columns = -(-count // rows) if rows else 1
        if columns != self._columns:
            for i in range(self._grid.columnCount()):
                self._grid.setColumnStretch(i, 0)
            for i, card in enumerate(self._cards):
                self._grid.addWidget(card, i // columns, i % columns)
            for i in range(columns):
                self._grid.setColumnStretch(i, 1)
            self._columns = columns
        return natural_height(self)

    def _toggle(self) -> None:
        self.actions_.toggled.emit(self.key, not self._opened)


def _counts(turn: Turn) -> str:
    at_work = sum(lane.status == "running" for lane in turn.lanes)
    answered = sum(bool(lane.answer.strip()) for lane in turn.lanes if lane.status != "running")
    without = len(turn.lanes) - at_work - answered
    said = [(at_work, "at work"), (answered, "answered"), (without, "without an answer")]
    return " · ".join(f"{n} {what}" for n, what in said if n)
