"""Forms of servers: every kind of field, what is sent, and what is not."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtWidgets import QCheckBox, QComboBox, QLabel, QLineEdit, QWidget
from pytestqt.qtbot import QtBot

from app import events as ev
from tests.ui.parts import press
from ui.forms import FormDialog

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Your name"},
        "age": {"type": "integer"},
        "weight": {"type": "number", "default": 1.5},
        "fast": {"type": "boolean", "default": True},
        "colour": {"type": "string", "enum": ["r", "g"], "enumNames": ["Red", "Green"]},
        "size": {"type": "string", "oneOf": [{"const": "s", "title": "Small"}]},
        "days": {"type": "array", "items": {"type": "string", "enum": ["mo", "tu"]}},
        "odd": 7,
    },
    "required": ["name"],
}


@pytest.fixture
def dialog(qtbot: QtBot) -> FormDialog:
    made = FormDialog(ev.FormAsked("call", "form", "trial", "<b>Who</b> are you?", SCHEMA))
    qtbot.addWidget(made)
    made.show()
    return made


def at(dialog: FormDialog, kind: type, name: str) -> Any:
    found = dialog.findChild(kind, f"field_{name}")
    assert found is not None
    return found


def test_what_is_entered_is_sent_in_its_type(qtbot: QtBot, dialog: FormDialog) -> None:
    answers: list[tuple[str, object]] = []
    dialog.answered.connect(lambda action, content: answers.append((action, content)))
    problem = dialog.findChild(QLabel, "formProblem")
    assert isinstance(problem, QLabel)
    press(dialog, "sendForm")
    assert answers == [] and problem.isVisible() and "name" in problem.text()
    at(dialog, QLineEdit, "name").setText("Emma")
    at(dialog, QLineEdit, "age").setText("old")
    press(dialog, "sendForm")
    assert answers == [] and "number" in problem.text()
    at(dialog, QLineEdit, "age").setText("42")
    at(dialog, QComboBox, "colour").setCurrentIndex(2)
    at(dialog, QWidget, "days").findChildren(QCheckBox)[1].setChecked(True)
    press(dialog, "sendForm")
    assert answers == [
        (
            "accept",
            {"name": "Emma", "age": 42, "weight": 1.5, "fast": True, "colour": "g", "days": ["tu"]},
        )
    ]


@pytest.mark.parametrize(("name", "action"), [("declineForm", "decline"), ("cancelForm", "cancel")])
def test_saying_no(qtbot: QtBot, dialog: FormDialog, name: str, action: str) -> None:
    with qtbot.waitSignal(dialog.answered) as answered:
        press(dialog, name)
    assert answered.args == [action, {}]
    assert any("<b>Who</b>" in one.text() for one in dialog.findChildren(QLabel))
