"""The question of a call: what it shows, what can be changed, what is answered."""

from __future__ import annotations

from typing import Any

import msgspec
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLabel, QLineEdit, QPlainTextEdit, QWidget
from pytestqt.qtbot import QtBot

from app import events as ev
from app.state import ToolRun
from ui.chat.approval_box import ApprovalBox, Draft, Given
from ui.chat.tool_row import verdict_words
from ui.theme import LIGHT

RUN = ToolRun(
    "c1",
    "send",
    '{"to": "ada@example.org", "n": 1}',
    0.0,
    asked="send wants to send\nyou did not name the address ada@example.org",
    risk="foreign",
    strange=("address ada@example.org",),
    suggestions=("send(address=ada@example.org)", "send(address=*)"),
)
SCHEMA = {
    "type": "object",
    "properties": {"to": {"type": "string"}, "n": {"type": "integer"}},
    "additionalProperties": False,
}


class Asked:
    """A box with a question, and what is given."""

    def __init__(self, qtbot: QtBot, run: ToolRun = RUN) -> None:
        self.qtbot, self.box, self.run = qtbot, ApprovalBox(), run
        self.drafts: dict[str, Draft] = {}
        self.given: list[Given] = []
        qtbot.addWidget(self.box)
        self.box.given.connect(self.given.append)
        self.bind()
        self.box.show()

    def bind(self, **changes: Any) -> None:
        from dataclasses import replace

        self.box.show_run(replace(self.run, **changes), SCHEMA, self.drafts, LIGHT)

    def find(self, kind: type[QWidget], name: str) -> Any:
        return self.box.findChild(kind, name)

    def click(self, name: str) -> None:
        self.qtbot.mouseClick(self.find(QAbstractButton, name), Qt.MouseButton.LeftButton)


def test_it_says_why_and_what_would_be_remembered(qtbot: QtBot) -> None:
    asked = Asked(qtbot)
    assert "you did not name" in asked.find(QLabel, "approvalWhy").text()
    assert "another program's tool" in asked.find(QLabel, "approvalRisk").text()
    assert asked.find(QComboBox, "approvalRule").currentText() == RUN.suggestions[0]
    assert asked.find(QAbstractButton, "allowOnce").property("role") != "primary"
    asked.click("allowAlways")
    assert asked.given == [Given("c1", "always", rule=RUN.suggestions[0])]


def test_another_pattern_is_remembered_and_a_wrong_one_is_not(qtbot: QtBot) -> None:
    asked = Asked(qtbot)
    rule = asked.find(QComboBox, "approvalRule")
    rule.setEditText("send(")
    assert not asked.find(QAbstractButton, "allowRun").isEnabled()
    assert asked.find(QAbstractButton, "allowOnce").isEnabled()
    rule.setEditText("send(to=*@example.org)")
    asked.click("allowRun")
    assert asked.given == [Given("c1", "run", rule="send(to=*@example.org)")]


def test_arguments_are_changed_and_checked(qtbot: QtBot) -> None:
    asked = Asked(qtbot)
    asked.click("editCall")
    editor = asked.find(QPlainTextEdit, "editArguments")
    editor.setPlainText('{"to": "ada@example.org", "n": "many"}')
    assert "n: 'many' is not of type 'integer'" in asked.find(QLabel, "argumentsWrong").text()
    assert not asked.find(QAbstractButton, "allowOnce").isEnabled()
    editor.setPlainText('{"to": "grace@example.org", "n": 2}')
    asked.click("allowOnce")
    assert asked.given == [Given("c1", "once", arguments='{"to": "grace@example.org", "n": 2}')]


def test_a_single_text_is_changed_bare(qtbot: QtBot) -> None:
    run = ToolRun("c2", "python", '{"code": "1 + 1\\n"}', 0.0, asked="runs code", risk="execute")
    asked = Asked(qtbot, run)
    asked.click("editCall")
    editor = asked.find(QPlainTextEdit, "editArguments")
    assert editor.toPlainText() == "1 + 1\n"
    asked.box._schema = None
    editor.setPlainText('print("2")')
    asked.click("allowOnce")
    assert asked.given[0].arguments is not None
    assert msgspec.json.decode(asked.given[0].arguments) == {"code": 'print("2")'}


def test_what_was_begun_outlives_the_row(qtbot: QtBot) -> None:
    asked = Asked(qtbot)
    asked.click("editCall")
    asked.find(QPlainTextEdit, "editArguments").setPlainText('{"to": "x"}')
    asked.find(QLineEdit, "denyReason").setText("no")
    qtbot.keyClicks(asked.find(QLineEdit, "denyReason"), "t now")
    asked.bind(call="c9", arguments="{}")
    assert not asked.box.editing
    assert asked.find(QLineEdit, "denyReason").text() == ""
    asked.bind()
    assert asked.find(QPlainTextEdit, "editArguments").toPlainText() == '{"to": "x"}'
    qtbot.keyClick(asked.find(QLineEdit, "denyReason"), Qt.Key.Key_Return)
    assert asked.given == [Given("c1", "deny", "not now")]


def test_what_no_rule_may_allow_offers_none(qtbot: QtBot) -> None:
    run = ToolRun("c3", "shell", "{}", 0.0, asked="runs", risk="execute", sandbox="none")
    asked = Asked(qtbot, run)
    assert not asked.find(QAbstractButton, "allowAlways").isVisible()
    assert "nothing confines it" in asked.find(QLabel, "approvalRisk").text()


def test_who_let_it_run_is_said() -> None:
    def said(decision: ev.Decision, by: str, **more: Any) -> str:
        return verdict_words(ToolRun("c", "x", "{}", 0.0, decision=decision, decided_by=by, **more))

    assert said("once", "person", asked="?") == "Allowed by you"
    assert said("always", "rule", rule="x*") == "Allowed by your rule: x*"
    assert said("deny", "person", asked="?", deny_reason="no") == "Denied by you (no)"
    assert said("run", "person", asked="?", rule="x") == "Allowed by you, and for this run: x"
    assert said("once", "person", asked="?", written="{}").startswith("You changed the arguments;")
    assert said("once", "unattended", rule="*") == "Allowed with nobody there: *"
