"""Whose window the context map shows: that of the conversation, or of one lane."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QWidget

from app.state import Turn
from ui.chat.lanes import words_of
from ui.chat.row_base import label, line


class LaneChoice(QWidget):
    """Hidden where the run has no lanes. Signals: ``chosen`` when a person chose another."""

    chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._turn: Turn | None = None
        self._wanted = ""
        title = label("muted")
        title.setText(self.tr("Context of"))
        self.box = QComboBox()
        self.box.setObjectName("contextLane")
        self.box.setAccessibleName(self.tr("Context of the conversation or of a lane"))
        self.box.activated.connect(self._choose)
        title.setBuddy(self.box)
        self.setLayout(line(title, self.box, None))
        self.hide()

    @property
    def lane(self) -> str:
        """Its id; empty: the conversation. Until somebody chooses, the first lane while one is at
        work, for the conversation learns of them only when all are done.
        """
        turn = self._turn
        if turn is None or self._wanted == turn.id:
            return ""
        if any(lane.id == self._wanted for lane in turn.lanes):
            return self._wanted
        at_work = any(lane.status == "running" for lane in turn.lanes)
        return turn.lanes[0].id if at_work else ""

    def show_turn(self, turn: Turn | None) -> None:
        """Offer the lanes of a turn."""
        self._turn = turn
        lanes = turn.lanes if turn is not None else ()
        self.setVisible(bool(lanes))
        names = [self.tr("the conversation"), *map(self._name, lanes)] if lanes else []
        while self.box.count() > len(names):
            self.box.removeItem(self.box.count() - 1)
        for i, name in enumerate(names):
            if i == self.box.count():
                self.box.addItem(name)
            elif self.box.itemText(i) != name:
                self.box.setItemText(i, name)
        at = next((i for i, one in enumerate(lanes, 1) if one.id == self.lane), 0)
        self.box.setCurrentIndex(at if lanes else -1)

    def follow(self, turn: Turn) -> None:
        """Somebody looks at a turn or a lane elsewhere. One of another run changes nothing here."""
        self._wanted = turn.id
        self.show_turn(self._turn)

    def _name(self, lane: Turn) -> str:
        name = self.tr("Lane {n}").format(n=lane.number)
        if lane.status == "running" or self._turn is None:
            return name
        return f"{name} · {words_of(lane, self._turn).state}"

    def _choose(self, index: int) -> None:
        turn = self._turn
        if turn is not None and 0 <= index <= len(turn.lanes):
            self._wanted = turn.lanes[index - 1].id if index else turn.id
            self.chosen.emit()
