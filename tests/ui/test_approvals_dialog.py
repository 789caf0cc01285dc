"""The window's rules, unattended scopes and log."""

from __future__ import annotations

import time
from typing import Any

import pytest
from PySide6.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QTableWidget,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app.events import Unattended
from app.store.decisions import Decision
from app.trust.policy import Rule
from ui.approvals.dialog import ApprovalsDialog


class Opened:
    def __init__(self, qtbot: QtBot, *rules: Rule, running: bool = True) -> None:
        self.qtbot, self.parent = qtbot, QWidget()
        qtbot.addWidget(self.parent)
        self.dialog = ApprovalsDialog(rules, running=running, parent=self.parent)
        self.rules: list[tuple[Rule, ...]] = []
        self.scopes: list[Unattended | None] = []
        self.dialog.rules_changed.connect(self.rules.append)
        self.dialog.unattended.connect(self.scopes.append)

    def find(self, kind: type[QWidget], name: str) -> Any:
        return self.dialog.findChild(kind, name)

    def click(self, name: str) -> None:
        self.find(QAbstractButton, name).click()


def test_rules_are_added_edited_and_removed(qtbot: QtBot) -> None:
    o = Opened(qtbot, Rule("python"), Rule("@network", "deny", "no"))
    table = o.find(QTableWidget, "rulesTable")
    new = o.find(QLineEdit, "newRule")
    new.setText("open_page(")
    o.click("addRule")
    assert o.rules == [] and new.text() == "open_page("
    new.setText("open_page(host=a.org)")
    o.click("addRule")
    assert [rule.pattern for rule in o.rules[-1]] == ["python", "@network", "open_page(host=a.org)"]
    table.item(0, 1).setText("py*")
    table.cellWidget(0, 0).setCurrentText("ask")
    assert (o.rules[-1][0].pattern, o.rules[-1][0].decision) == ("py*", "ask")
    count = len(o.rules)
    table.item(0, 1).setText("py(")
    assert len(o.rules) == count and table.item(0, 1).text() == "py*"
    remove = o.find(QAbstractButton, "removeRule")
    assert not remove.isEnabled()
    table.selectRow(1)
    assert remove.isEnabled()
    o.click("removeRule")
    assert [rule.pattern for rule in o.rules[-1]] == ["py*", "open_page(host=a.org)"]
    assert not remove.isEnabled()
    o.click("ruleUndo")
    assert [rule.pattern for rule in o.rules[-1]] == ["py*", "@network", "open_page(host=a.org)"]


@pytest.mark.parametrize("running", [True, False])
def test_an_unattended_scope_says_what_and_how_long(qtbot: QtBot, running: bool) -> None:
    o = Opened(qtbot, running=running)
    o.click("beginUnattended")
    assert o.scopes == []  # never a blanket yes by default
    o.find(QPlainTextEdit, "unattendedScope").setPlainText("python\n\nopen_page(host=*.a.org)")
    o.click("beginUnattended")
    (scope,) = o.scopes
    assert scope is not None and scope.otherwise == "ask"
    assert scope.allow == ("python", "open_page(host=*.a.org)")
    assert (
        scope.until == 0.0 if running else scope.until == pytest.approx(time.time() + 3600, abs=9)
    )
    o.click("endUnattended")
    assert o.scopes[-1] is None


def test_the_log(qtbot: QtBot) -> None:
    o = Opened(qtbot)
    o.dialog.show_log([Decision(0.0, "c", "T", "denied", "rule", "get", "{}", "get", "no")])
    table = o.find(QTableWidget, "decisionsTable")
    assert table.item(0, 1).text() == "denied by rule: get (no)"
    assert o.find(QComboBox, "unattendedSpan").count() == 4
