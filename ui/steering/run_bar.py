"""Above the composer: the plan, what is queued for the next step, and where the run is held."""

from __future__ import annotations

import time

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QFontMetrics, QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QVBoxLayout, QWidget

from app import events as ev
from app.state import ConversationState
from ui.chat.header_button import HeaderButton
from ui.chat.row_base import Card, ElidedLabel, button, label, line
from ui.chat.text_widgets import PlainText
from ui.steering.status import Held, Status, address, plan_gist, plan_text
from ui.theme import Theme, current

_PLAN_HEIGHT = 132
_CHIP = 240
_NARROW = 480
_SECOND_MS = 1000


class Chip(Card):
    """A queued message. Signals: ``removed(id)``."""

    removed = Signal(str)

    def __init__(self, message: ev.MessageQueued, room: int, heard: bool = True) -> None:
        """``room``: pixels that its text may take; not ``heard``: the run is over."""
        super().__init__("chip")
        self.setObjectName("queuedChip")
        self.id = message.id
        text = label()
        words = " ".join(message.text.split())
        end = Qt.TextElideMode.ElideRight
        text.setText(QFontMetrics(current().small_font).elidedText(words, end, room))
        text.setFont(current().small_font)
        self.setToolTip(message.text[:2000])
        name = self.tr("Queued: {text}") if heard else self.tr("Not heard: {text}")
        self.setAccessibleName(name.format(text=words))
        if heard:
            remove = button("✕", "removeQueued", self.tr("Take it back"), "close")
            remove.setFixedSize(22, 20)
        else:
            tip = self.tr("Put it into the message that you write")
            remove = button(self.tr("Write again"), "writeAgain", tip, "quiet")
        remove.clicked.connect(lambda: self.removed.emit(self.id))
        self.column.setContentsMargins(10, 1, 2, 1)
        self.column.addLayout(line(text, remove, spacing=2))


class RunBar(QWidget):
    """Hidden while there is nothing to say. Signals: ``continued``, ``stepped``, ``stopped``,
    ``unqueued(id)``, ``wanted_again(text)``, ``call_edited(address, arguments)``,
    ``result_edited(address, result)``: the texts as they stand, for an editor.
    """

    continued = Signal()
    stepped = Signal()
    stopped = Signal()
    unqueued = Signal(str)
    wanted_again = Signal(str)
    call_edited = Signal(str, str)
    result_edited = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._status = Status()
        self._conversation = ""
        self._plan_open: bool | None = None
        self._plan_card = Card("reasoning")
        self._plan_card.setObjectName("planCard")
        self._plan_head = HeaderButton("planHeader", self._toggle_plan)
        self._plan_head.title.setText(self.tr("Plan"))
        self._plan_text = PlainText(max_height=_PLAN_HEIGHT)
        self._plan_text.setObjectName("planText")
        self._plan_text.setAccessibleName(self.tr("Plan"))
        self._plan_text.setTabStopDistance(20)
        self._plan_card.column.addWidget(self._plan_head)
        self._plan_card.column.addWidget(self._plan_text)
        self._chips = QWidget()
        self._chip_line = QHBoxLayout(self._chips)
        self._chip_line.setContentsMargins(0, 0, 0, 0)
        self._chip_line.setSpacing(6)
        self._for_next = label("faint")
        self._for_next.setText(self.tr("For the next step:"))
        self._chip_line.addWidget(self._for_next)
        self._chip_line.addStretch(1)
        self._shown_chips: list[Chip] = []
        self._chips_shown: tuple[int, bool, list[str]] = (0, True, [])
        self._taken: set[str] = set()
        """Unheard messages that were put into the composer."""
        self._held = self._make_held()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 6)
        column.setSpacing(6)
        for widget in (self._plan_card, self._chips, self._held):
            column.addWidget(widget)
        self._show()

    def _make_held(self) -> Card:
        card = Card("note")
        card.setObjectName("heldCard")
        self._where = ElidedLabel()
        self._where.setObjectName("heldWhere")
        self._edit = button(self.tr("Edit…"), "editHeld", "")
        self._edit.clicked.connect(self._edit_held)
        self._go = button(self.tr("Continue"), "continueHeld", self.tr("Go on (F8)"), "primary")
        self._go.clicked.connect(self.continued)
        self._step = step = button(
            self.tr("Step"), "stepHeld", self.tr("Go on to the next step (F10)")
        )
        step.clicked.connect(self.stepped)
        stop = button(self.tr("Stop"), "stopHeld", self.tr("End the run here (Esc)"), "quiet")
        stop.clicked.connect(self.stopped)
        self._buttons = (self._edit, self._go, step, stop)
        self._countdown = QTimer(self)
        self._countdown.setInterval(_SECOND_MS)
        self._countdown.timeout.connect(lambda: self._show_held(self._status))
        self._held_line = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._held_line.setSpacing(6)
        self._held_line.addWidget(self._where, 1)
        self._held_line.addLayout(line(*self._buttons, None, spacing=4))
        card.column.addLayout(self._held_line)
        return card

    def set_state(self, state: ConversationState) -> None:
        """Show what there is."""
        status = Status.of(state)
        if state.id != self._conversation:
            self._conversation, self._plan_open = state.id, None
        elif status == self._status:
            return
        self._status = status
        self._show()

    def set_theme(self, theme: Theme) -> None:
        """Fonts of the theme."""
        self._plan_text.setFont(theme.body_font)
        self._show()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width shows more or less."""
        super().resizeEvent(event)
        self._show()

    def _show(self) -> None:
        status = self._status
        counts = bool(status.held) and status.held[0].turn.away is not None
        if counts != self._countdown.isActive():
            self._countdown.start() if counts else self._countdown.stop()
        self._show_plan(status)
        unheard = tuple(one for one in status.unheard if one.id not in self._taken)
        self._show_chips(status.queued or unheard, heard=status.running)
        self._show_held(status)
        chips = bool(status.queued or unheard)
        self.setVisible(bool(status.plan or chips or status.held or status.pausing))

    def _show_plan(self, status: Status) -> None:
        self._plan_card.setVisible(bool(status.plan))
        opened = status.running if self._plan_open is None else self._plan_open
        self._plan_head.show_open(opened)
        gist = plan_gist(status.plan)
        self._plan_head.detail.setText(gist)
        self._plan_head.setAccessibleName(self.tr("Plan: {gist}").format(gist=gist))
        self._plan_text.setVisible(opened)
        self._plan_text.show_text(plan_text(status.plan))
        width = self._plan_card.inner_width(max(self.width(), 200))
        self._plan_text.setFixedHeight(self._plan_text.height_at(width))

    def _toggle_plan(self) -> None:
        self._plan_open = not self._plan_text.isVisibleTo(self._plan_card)
        self._show()

    def _show_chips(self, queued: tuple[ev.MessageQueued, ...], heard: bool) -> None:
        self._chips.setVisible(bool(queued))
        narrow = self.width() < _NARROW
        self._for_next.setVisible(not narrow)
        next_step = self.tr("For the next step:")
        self._for_next.setText(next_step if heard else self.tr("Not heard yet:"))
        taken = 0 if narrow else self._for_next.sizeHint().width()
        buttons = 50 if heard else 120
        room = min(_CHIP, (self.width() - taken) // max(len(queued), 1) - buttons)
        shown = (room, heard, [message.id for message in queued])
        if shown == self._chips_shown:
            return
        self._chips_shown = shown
        for chip in self._shown_chips:
            self._chip_line.removeWidget(chip)
            chip.hide()
            chip.deleteLater()
        self._shown_chips = [Chip(message, max(room, 40), heard) for message in queued]
        for i, chip in enumerate(self._shown_chips, 1):
            chip.removed.connect(self.unqueued if heard else self._write_again)
            self._chip_line.insertWidget(i, chip)

    def _write_again(self, id: str) -> None:
        self._taken.add(id)
        for message in self._status.unheard:
            if message.id == id:
                self.wanted_again.emit(message.text)
        self._show()

    def _show_held(self, status: Status) -> None:
        self._held.setVisible(bool(status.held) or status.pausing)
        for widget in self._buttons[1:]:
            widget.setVisible(bool(status.held))
        first = status.held[0] if status.held else None
        words = self.tr("Pausing at the next place…")
        if first is not None:
            words = first.words(time.time())
            self._show_away(first.turn.away is not None)
        if first is not None and len(status.held) > 1:
            text = self.tr("{n} lanes are paused: {why}")
            name = ""
            if first.turn.away is not None and all(one.turn.away for one in status.held):
                text, name = (
                    self.tr("{n} lanes wait for {name}: {why}"),
                    first.turn.away.lost.endpoint,
                )
            words = text.format(n=len(status.held), name=name, why=first.why.reason)
        pending = first.pending() if first else None
        result = first.result() if first else None
        self._edit.setVisible(bool(pending or result))
        what = self.tr("the call") if pending else self.tr("the result")
        tip = self.tr("Change {what} before the run goes on").format(what=what)
        self._edit.setToolTip(tip)
        self._edit.setAccessibleName(tip)
        narrow = self.width() < _NARROW
        kinds = QBoxLayout.Direction
        self._held_line.setDirection(kinds.TopToBottom if narrow else kinds.LeftToRight)
        self._where.setText(words)
        self._where.setToolTip(words)

    def _show_away(self, away: bool) -> None:
        """Whether it waits for an endpoint: the buttons say so, and seconds are counted."""
        self._go.setText(self.tr("Try now") if away else self.tr("Continue"))
        tip = self.tr("Ask it at once (F8)") if away else self.tr("Go on (F8)")
        self._go.setToolTip(tip)
        self._go.setAccessibleName(tip)
        self._step.setVisible(not away)

    def _edit_held(self) -> None:
        held: Held | None = self._status.held[0] if self._status.held else None
        if held is None:
            return
        pending, result = held.pending(), held.result()
        if pending is not None:
            self.call_edited.emit(address(held.turn, pending.call), pending.arguments)
        elif result is not None:
            self.result_edited.emit(address(held.turn, result.call), result.result)
