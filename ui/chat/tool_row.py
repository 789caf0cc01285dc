"""A tool call: arguments as they are written, the approval question, output and result."""

from __future__ import annotations

import json
import time

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QLineEdit, QVBoxLayout, QWidget

from app.state import ToolRun
from ui.chat.artefacts import Artefacts
from ui.chat.changes import Changes, DiffText
from ui.chat.message_rows import HeaderButton
from ui.chat.row_base import (
    Card,
    ChatActions,
    RowWidget,
    button,
    label,
    line,
    natural_height,
    set_label_role,
)
from ui.chat.rows import Row, ToolRow, seconds
from ui.chat.text_widgets import PlainText
from ui.theme import Theme

_STATES = {
    "ok": ("✓", "good"),
    "error": ("error", "bad"),
    "denied": ("denied", "warn"),
    "cancelled": ("cancelled", "warn"),
    "unknown": ("outcome unknown", "warn"),
}


class ToolWidget(RowWidget):
    """The card of one call."""

    def __init__(self, actions: ChatActions, parent: QWidget) -> None:
        super().__init__(actions, parent)
        self._opened = False
        self._asking = False
        self._call = ""
        self._card = Card("card")
        self._head = HeaderButton("toolHeader", self._toggle)
        self._arguments = PlainText(max_height=240)
        self._arguments.setAccessibleName(self.tr("Arguments"))
        self._result_title = label("faint")
        self._result = PlainText(max_height=240)
        self._result.setAccessibleName(self.tr("Result"))
        self._question = label()
        self._question.setWordWrap(True)
        self._approval = self._make_approval()
        self._diff = DiffText()
        self._changes = Changes(actions)
        self._artefacts = Artefacts(actions)
        for widget in (
            self._head,
            self._arguments,
            self._diff,
            self._changes,
            self._question,
            self._approval,
            self._result_title,
            self._result,
            self._artefacts,
        ):
            self._card.column.addWidget(widget)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 4)
        column.addWidget(self._card)

    def _make_approval(self) -> QWidget:
        box = QWidget()
        self._once = button(self.tr("Allow once"), "allowOnce", self.tr("Run this call"), "primary")
        self._run = button(
            self.tr("Allow for this run"),
            "allowRun",
            self.tr("Run this tool without asking until the answer"),
        )
        self._always = button(
            self.tr("Always allow"),
            "allowAlways",
            self.tr("Never ask for this tool; can be revoked in settings"),
        )
        self._deny = button(
            self.tr("Deny"), "deny", self.tr("Do not run it; the model is told"), "danger"
        )
        self._reason = QLineEdit()
        self._reason.setObjectName("denyReason")
        self._reason.setPlaceholderText(self.tr("Reason for the model (optional)"))
        self._reason.setAccessibleName(self.tr("Reason for denying"))
        column = QVBoxLayout(box)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(line(self._once, self._run, self._always, None))
        column.addLayout(line(self._deny, self._reason))
        for decision, widget in (
            ("once", self._once),
            ("run", self._run),
            ("always", self._always),
            ("deny", self._deny),
        ):
            widget.clicked.connect(lambda _=False, d=decision: self._decide(d))
        self._reason.returnPressed.connect(lambda: self._decide("deny"))
        return box

    def bind(self, row: Row, theme: Theme, opened: bool) -> None:
        assert isinstance(row, ToolRow)
        run, part = row.run, row.part
        name = run.name if run else part.name if part else ""
        arguments = run.arguments if run else part.text if part else ""
        self._call = run.call if run else ""
        self._asking = run is not None and run.waiting
        self._opened = opened or self._asking
        self._card.set_role("asking" if self._asking else "card")
        self._head.show_open(self._opened)
        self._head.title.setFont(theme.mono_font)
        self._head.title.setText(name or self.tr("tool"))
        state, role = self._state(row)
        self._head.state.setText(state)
        set_label_role(self._head.state, role)
        self._head.setAccessibleName(f"{name} {state}")
        gist = "" if self._opened else _gist(arguments)
        self._head.detail.setText(
            QFontMetrics(theme.small_font).elidedText(
                gist, Qt.TextElideMode.ElideRight, max(self.width() - 300, 80)
            )
        )
        self._arguments.setVisible(self._opened)
        self._approval.setVisible(self._asking)
        self._question.setVisible(self._asking or bool(run and run.problem))
        if run is not None:
            self._question.setText(run.asked if self._asking else run.problem)
        diff = _diff(run) if self._opened else ""
        self._diff.setVisible(bool(diff))
        if diff:
            self._diff.show_diff(diff, theme)
            self._arguments.setVisible(False)  # the same, and less readable
        self._changes.show_run(run)
        self._artefacts.show_all(run.artefacts if run else (), theme)
        result = (run.result or run.output) if run else ""
        shown = self._opened and bool(result)
        self._result.setVisible(shown)
        self._result_title.setVisible(shown)
        self._result_title.setText(
            self.tr("Result") if run and run.status else self.tr("Output so far")
        )
        if self._opened:
            self._arguments.setFont(theme.mono_font)
            self._arguments.show_text(readable(arguments), follow=run is None)
            self._result.setFont(theme.mono_font)
            self._result.show_text(result[:200_000], follow=bool(run and not run.status))

    def height_at(self, width: int) -> int:
        inner = self._card.inner_width(width)
        for text in (self._arguments, self._diff, self._result):
            if text.isVisibleTo(self):
                text.setFixedHeight(text.height_at(inner))
        self._artefacts.fit(inner)
        return natural_height(self)

    def _state(self, row: ToolRow) -> tuple[str, str]:
        run = row.run
        if run is None:
            return self.tr("writing the call…"), "faint"
        if run.status is not None:
            text, role = _STATES[run.status]
            return f"{text}  {seconds(run.seconds)}" if run.seconds else text, role
        if run.waiting:
            return self.tr("waits for you"), "warn"
        if run.started:
            running = seconds(max(time.time() - run.started, 0))
            return self.tr("running {time}").format(time=running), "faint"
        return self.tr("next"), "faint"

    def _decide(self, decision: str) -> None:
        if self._asking:
            self.actions_.decided.emit(self._call, decision, self._reason.text().strip())
            self._reason.clear()

    def _toggle(self) -> None:
        if not self._asking:
            self.actions_.toggled.emit(self.key, not self._opened)


def _diff(run: ToolRun | None) -> str:
    """What it changed, or while it is asked about, what it would change."""
    if run is None:
        return ""
    return "\n".join(one.diff for one in run.changes) or run.preview


def readable(arguments: str) -> str:
    """Arguments for people: a single text argument bare, otherwise indented JSON."""
    try:
        value = json.loads(arguments)
    except ValueError:
        return arguments
    if isinstance(value, dict) and len(value) == 1:
        (only,) = value.values()
        if isinstance(only, str):
            return only
    return json.dumps(value, indent=2, ensure_ascii=False) if value else "{}"


def _gist(arguments: str) -> str:
    return " ".join(readable(arguments)[:300].split())
