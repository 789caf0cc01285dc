"""The question of a call: why it asks, its arguments to change, and the answers.

What the person has begun to write is kept while the row is out of view, for row widgets are
recycled; nothing takes the keyboard by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QLineEdit, QPlainTextEdit, QVBoxLayout, QWidget

from app.errors import ConfigError, ToolError
from app.events import Decision
from app.state import ToolRun
from app.tools.arguments import checked
from app.trust.pattern import Pattern
from ui.chat.arguments import as_arguments, as_text, same
from ui.chat.row_base import button, label, line, set_label_role
from ui.theme import Theme

RISKS = {
    "none": "only computes",
    "read": "reads your files",
    "write": "changes files",
    "network": "reaches other machines",
    "execute": "runs programs",
    "foreign": "another program's tool",
}
_LEVELS = {"none": "nothing confines it"}
_MOST_LINES = 12


@dataclass(slots=True)
class Draft:
    """What a person has written so far for a call. None: as it was."""

    text: str | None = None
    rule: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Given:
    """An answer. ``arguments`` None: unchanged; ``rule``: what ``run`` and ``always`` keep."""

    call: str
    decision: Decision
    reason: str = ""
    rule: str = ""
    arguments: str | None = None


class ApprovalBox(QWidget):
    """Signals: ``given(Given)``, ``resized()`` when it needs another height."""

    given = Signal(object)
    resized = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._run: ToolRun | None = None
        self._schema: dict[str, Any] | None = None
        self._drafts: dict[str, Draft] = {}
        self._filling = False
        self._risk = label("muted")
        self._risk.setWordWrap(True)
        self._risk.setObjectName("approvalRisk")
        self._why = label()
        self._why.setObjectName("approvalWhy")
        self._why.setWordWrap(True)
        self._editor = QPlainTextEdit()
        self._editor.setObjectName("editArguments")
        self._editor.setAccessibleName(self.tr("Arguments to change"))
        self._editor.setTabChangesFocus(True)
        self._editor.textChanged.connect(self._edited)
        self._wrong = label("bad")
        self._wrong.setObjectName("argumentsWrong")
        self._wrong.setWordWrap(True)
        self._rule = QComboBox()
        self._rule.setObjectName("approvalRule")
        self._rule.setEditable(True)
        self._rule.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self._rule.setMinimumContentsLength(12)
        self._rule.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        tip = self.tr(
            "What “For this run” and “Always” remember: a tool, perhaps with what it may be "
            "aimed at. * stands for anything."
        )
        self._rule.setToolTip(tip)
        self._rule.setAccessibleName(self.tr("Pattern that is remembered"))
        self._rule.currentTextChanged.connect(self._ruled)
        self._wrong_rule = label("bad")
        self._reason = QLineEdit()
        self._reason.setObjectName("denyReason")
        self._reason.setPlaceholderText(self.tr("Reason for the model (optional)"))
        self._reason.setAccessibleName(self.tr("Reason for denying"))
        self._reason.textEdited.connect(self._reasoned)
        self._reason.returnPressed.connect(lambda: self._give("deny"))
        self._lay_out()

    def _lay_out(self) -> None:
        self._once = button(
            self.tr("Allow &once"), "allowOnce", self.tr("Run this call, as it stands here")
        )
        self._for_run = button(
            self.tr("For this &run"),
            "allowRun",
            self.tr("Run it, and until the answer whatever the pattern covers"),
        )
        self._always = button(
            self.tr("&Always"),
            "allowAlways",
            self.tr("Run it, and from now on what the pattern covers; View > Approvals undoes it"),
        )
        self._change = button(
            self.tr("&Change…"), "editCall", self.tr("Change the arguments before it runs"), "quiet"
        )
        self._deny = button(
            self.tr("&Deny"), "deny", self.tr("Do not run it; the model is told"), "danger"
        )
        for decision, widget in (
            ("once", self._once),
            ("run", self._for_run),
            ("always", self._always),
            ("deny", self._deny),
        ):
            widget.clicked.connect(lambda _=False, d=decision: self._give(d))
        self._change.clicked.connect(self._begin_edit)
        remembers = label("muted")
        remembers.setText(self.tr("Remember"))
        remembers.setBuddy(self._rule)
        self._pattern_line = QWidget()
        pattern = line(remembers, self._rule)
        pattern.setStretch(1, 1)
        self._pattern_line.setLayout(pattern)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self._why)
        facts = line(self._risk, self._change)
        facts.setStretch(0, 1)
        column.addLayout(facts)
        column.addWidget(self._editor)
        column.addWidget(self._wrong)
        column.addWidget(self._pattern_line)
        column.addWidget(self._wrong_rule)
        column.addLayout(line(self._once, self._for_run, self._always, None))
        column.addLayout(line(self._deny, self._reason))

    @property
    def editing(self) -> bool:
        """Whether the arguments are shown here to be changed."""
        return self._run is not None and self._draft.text is not None

    def show_run(
        self,
        run: ToolRun,
        schema: dict[str, Any] | None,
        drafts: dict[str, Draft],
        theme: Theme,
    ) -> None:
        """Ask about a call. ``drafts``: what was written for calls so far, kept up to date."""
        self._drafts, self._schema = drafts, schema
        fresh = self._run is None or self._run.call != run.call or self._run != run
        self._run = run
        self._editor.setFont(theme.mono_font)
        self._rule.setFont(theme.mono_font)
        if fresh:
            self._fill(run)
        strange = bool(run.strange)
        # The quick answer is not the one to press for a target that nobody asked for.
        role = "" if strange or run.sandbox == "none" else "primary"
        if self._once.property("role") != role:
            self._once.setProperty("role", role)
            self._once.style().unpolish(self._once)
            self._once.style().polish(self._once)
        set_label_role(self._why, "warn" if strange else "")
        self._show_state()

    def _fill(self, run: ToolRun) -> None:
        self._filling = True
        draft = self._draft
        reasons = run.asked.splitlines()
        marked = [f"• {one}" for one in reasons] if len(reasons) > 1 else reasons
        self._why.setText("\n".join(marked[:_MOST_LINES]))
        facts = [run.name, RISKS.get(run.risk, ""), _LEVELS.get(run.sandbox, run.sandbox)]
        self._risk.setText(" · ".join(fact for fact in facts if fact))
        self._rule.clear()
        self._rule.addItems(list(run.suggestions or (run.name,)))
        self._rule.setEditText(draft.rule if draft.rule is not None else self._rule.itemText(0))
        edit = self._rule.lineEdit()
        if edit is not None:
            edit.setCursorPosition(0)
        self._reason.setText(draft.reason)
        if draft.text is not None:
            self._editor.setPlainText(draft.text)
        self._filling = False

    @property
    def _draft(self) -> Draft:
        assert self._run is not None
        return self._drafts.setdefault(self._run.call, Draft())

    def _begin_edit(self) -> None:
        if self._run is None:
            return
        if self.editing:
            self._draft.text = None
        else:
            self._draft.text = as_text(self._run.arguments)
            self._filling = True
            self._editor.setPlainText(self._draft.text)
            self._filling = False
            self._editor.setFocus()
        self._show_state()
        self.resized.emit()

    def _edited(self) -> None:
        if not self._filling and self._run is not None:
            self._draft.text = self._editor.toPlainText()
            self._show_state()
            self.resized.emit()

    def _ruled(self, text: str) -> None:
        if not self._filling and self._run is not None:
            self._draft.rule = text
            self._show_state()
            self.resized.emit()

    def _reasoned(self, text: str) -> None:
        if self._run is not None:
            self._draft.reason = text

    def _show_state(self) -> None:
        """What can be pressed, and what is wrong with what was written."""
        run = self._run
        assert run is not None
        self._editor.setVisible(self.editing)
        if self.editing:
            metrics = self._editor.fontMetrics()
            rows = min(max(self._editor.document().size().height(), 2), 14)
            self._editor.setFixedHeight(int(rows * metrics.lineSpacing() + 14))
        self._change.setText(self.tr("&Keep as it was") if self.editing else self.tr("&Change…"))
        wrong = self._problem()
        self._wrong.setText(wrong)
        self._wrong.setVisible(bool(wrong))
        wrong_rule = self._rule_problem()
        self._wrong_rule.setText(wrong_rule)
        self._wrong_rule.setVisible(bool(wrong_rule))
        self._once.setEnabled(not wrong)
        # What no rule may allow is asked each time.
        lasting = run.sandbox != "none" or run.risk != "execute"
        self._pattern_line.setVisible(lasting)
        for widget in (self._for_run, self._always):
            widget.setVisible(lasting)
            widget.setEnabled(not wrong and not wrong_rule)

    def _problem(self) -> str:
        arguments = self._arguments()
        if arguments is None:
            return ""
        try:
            checked(arguments, self._schema or {})
        except ToolError as error:
            return error.message
        except Exception as error:  # a schema that jsonschema cannot use; the core has its own
            return "" if self._schema else str(error)
        return ""

    def _rule_problem(self) -> str:
        try:
            Pattern.parse(self._rule.currentText())
        except ConfigError as error:
            return f"{error.message}; {error.hint}"
        return ""

    def _arguments(self) -> str | None:
        """As they were changed; None: they were not."""
        if self._run is None or not self.editing:
            return None
        text = as_arguments(self._editor.toPlainText(), self._run.arguments)
        return None if same(text, self._run.arguments) else text

    def _give(self, decision: Decision) -> None:
        run = self._run
        if run is None or not run.waiting:
            return
        arguments = self._arguments() if decision != "deny" else None
        rule = self._rule.currentText().strip() if decision in ("run", "always") else ""
        reason = self._reason.text().strip() if decision == "deny" else ""
        self.given.emit(Given(run.call, decision, reason, rule, arguments))
