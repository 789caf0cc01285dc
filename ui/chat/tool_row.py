"""A tool call: arguments as they are written, the approval question, output and result."""

from __future__ import annotations

import time

from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.state import ToolRun
from app.tools.web.untrusted import for_people
from ui.chat.approval_box import ApprovalBox, Given
from ui.chat.arguments import as_text
from ui.chat.artefacts import Artefacts
from ui.chat.changes import Changes, DiffText
from ui.chat.header_button import HeaderButton
from ui.chat.row_base import (
    Card,
    ChatActions,
    RowWidget,
    label,
    natural_height,
    set_label_role,
)
from ui.chat.rows import Row, ToolRow
from ui.chat.text_widgets import PlainText
from ui.theme import Theme
from ui.words import took

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
        self._problem = label("warn")
        self._problem.setWordWrap(True)
        self._verdict = label("faint")
        self._verdict.setObjectName("approvalVerdict")
        self._verdict.setWordWrap(True)
        self._approval = ApprovalBox()
        self._approval.given.connect(self._give)
        self._approval.resized.connect(lambda: actions.resized.emit(self.key))
        self._diff = DiffText()
        self._changes = Changes(actions)
        self._artefacts = Artefacts(actions)
        for widget in (
            self._head,
            self._arguments,
            self._diff,
            self._changes,
            self._problem,
            self._verdict,
            self._approval,
            self._result_title,
            self._result,
            self._artefacts,
        ):
            self._card.column.addWidget(widget)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 4)
        column.addWidget(self._card)

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
        title = name or self.tr("tool")
        if row.lane:
            title = self.tr("Lane {n}: {tool}").format(n=row.lane, tool=title)
        self._head.title.setText(title)
        state, role = self._state(row)
        self._head.state.setText(state)
        set_label_role(self._head.state, role)
        self._head.setAccessibleName(f"{title} {state}")
        gist = "" if self._opened else _gist(arguments)
        self._head.detail.setText(gist)
        self._arguments.setVisible(self._opened)
        self._approval.setVisible(self._asking)
        if run is not None and self._asking:
            self._approval.show_run(run, row.schema, self.actions_.drafts, theme)
            if self._approval.editing:
                self._arguments.setVisible(False)
        elif run is not None:
            self.actions_.drafts.pop(run.call, None)
        self._problem.setText(run.problem if run else "")
        self._problem.setVisible(bool(run and run.problem))
        verdict = verdict_words(run) if run is not None and self._opened else ""
        self._verdict.setText(verdict)
        self._verdict.setVisible(bool(verdict))
        diff = _diff(run) if self._opened else ""
        self._diff.setVisible(bool(diff))
        if diff:
            self._diff.show_diff(diff, theme)
            self._arguments.setVisible(False)  # the same, and less readable
        self._changes.show_run(run)
        self._artefacts.show_all(run.artefacts if run else (), theme)
        result = (for_people(run.result) or run.output) if run else ""
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
            return f"{text}  {took(run.seconds)}" if run.seconds else text, role
        if run.waiting:
            return self.tr("waits for you"), "warn"
        if run.started:
            running = took(max(time.time() - run.started, 0))
            return self.tr("running {time}").format(time=running), "faint"
        return self.tr("next"), "faint"

    def _give(self, given: Given) -> None:
        self.actions_.decided.emit(given)

    def _toggle(self) -> None:
        if not self._asking:
            self.actions_.toggled.emit(self.key, not self._opened)


def _diff(run: ToolRun | None) -> str:
    """What it changed, or while it is asked about, what it would change."""
    if run is None:
        return ""
    return "\n".join(one.diff for one in run.changes) or run.preview


def verdict_words(run: ToolRun) -> str:
    """Who let it run or not, and what a person changed; empty: nobody had to."""
    said: list[str] = []
    if run.written is not None:
        said.append("you changed the arguments")
    if run.decision is not None and (run.asked or run.rule or run.decided_by != "rule"):
        what = "denied" if run.decision == "deny" else "allowed"
        by = {"person": "by you", "rule": "by your rule", "unattended": "with nobody there"}
        words = f"{what} {by.get(run.decided_by, f'by {run.decided_by}')}"
        if run.decided_by == "person" and run.rule:
            words += f", and for {'this run' if run.decision == 'run' else 'good'}: {run.rule}"
        elif run.rule:
            words += f": {run.rule}"
        said.append(f"{words} ({run.deny_reason})" if run.deny_reason else words)
    words = "; ".join(said)
    return words[:1].upper() + words[1:]


def readable(arguments: str) -> str:
    """Arguments for people. Some models write null where there are none."""
    return as_text("{}" if arguments == "null" else arguments)


def _gist(arguments: str) -> str:
    return " ".join(readable(arguments)[:300].split())
