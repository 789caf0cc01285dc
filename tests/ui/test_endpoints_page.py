"""The page of endpoints, in the real window, with an endpoint that really answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app import events as ev
from app.backends.base import ModelRequest
from app.backends.scripted import Reply
from app.endpoints.config import Endpoint
from tests.ui.stage import Stage
from tests.wavering import Wavering, calls
from ui.settings.endpoint_editor import EndpointEditor
from ui.settings.window import SettingsDialog

KEY = "sk-very-secret-4711"
LONG = 20_000


@pytest.fixture
def stage(qtbot: QtBot, qapp: QApplication, tmp_path: Path) -> Iterator[Stage]:
    def model(request: ModelRequest) -> Reply:
        return Reply(text="x")

    made = Stage(tmp_path, qapp, model, ev.RunSettings(tools=()))
    qtbot.waitExposed(made.window)
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[Wavering]:
    made = Wavering([calls("ping", '{"word": "selene"}')])
    made.models = b'{"data": [{"id": "m"}]}'
    yield made
    made.go()


def settings(s: Stage, qtbot: QtBot) -> SettingsDialog:
    s.press("settings")
    found = s.dialog(qtbot, "settingsDialog")
    assert isinstance(found, SettingsDialog)
    return found


def add(dialog: SettingsDialog, preset: str) -> EndpointEditor:
    """By the menu of the button."""
    menu = dialog.findChild(QMenu, "addEndpointMenu")
    assert menu is not None
    next(one for one in menu.actions() if one.text() == preset).trigger()
    found = [one for one in dialog.findChildren(EndpointEditor) if one.isVisible()]
    assert len(found) == 1
    return found[0]


def field(parent: QWidget, name: str) -> QLineEdit:
    found = parent.findChild(QLineEdit, name)
    assert found is not None
    return found


def box(parent: QWidget, name: str) -> QComboBox:
    found = parent.findChild(QComboBox, name)
    assert found is not None
    return found


def press(parent: QWidget, name: str) -> None:
    found = next(b for b in parent.findChildren(QPushButton, name) if b.isVisible())
    assert found.isEnabled()
    found.click()


def lines(parent: QWidget) -> list[str]:
    return [one.text() for one in parent.findChildren(QLabel, "testLine") if one.isVisible()]


def titles(dialog: SettingsDialog) -> list[str]:
    shown = dialog.endpoints.list
    return [shown.item(i).text() for i in range(shown.count())]


def fill(editor: EndpointEditor, server: Wavering) -> None:
    field(editor, "endpointName").setText("Mine")
    field(editor, "endpointUrl").setText(server.url + "/")
    key = box(editor, "endpointKeyFrom")
    key.setCurrentIndex(key.findData("kept"))
    field(editor, "endpointKey").setText(KEY)


def test_one_is_added_tried_used_and_answers(qtbot: QtBot, stage: Stage, server: Wavering) -> None:
    s = stage
    dialog = settings(s, qtbot)
    assert titles(dialog) == ["● Own engine"]
    editor = add(dialog, "vLLM")
    assert field(editor, "endpointUrl").text() == "http://127.0.0.1:8000/v1"
    fill(editor, server)
    assert field(editor, "endpointKey").echoMode() == QLineEdit.EchoMode.Password
    press(editor, "testEndpoint")
    qtbot.waitUntil(lambda: "Choose a model to test it, too." in lines(editor), timeout=LONG)
    model = box(editor, "endpointModel")
    assert model.currentText() == "m", "the only one there is"
    press(editor, "testEndpoint")
    qtbot.waitUntil(lambda: "✓ Calls tools" in lines(editor), timeout=LONG)
    assert "1 model: m" in lines(editor) and "✓ Thinks apart from its answer" in lines(editor)
    field(editor, "endpointContext").setText("262,144")
    field(editor, "endpointPriceIn").setText("0,6")
    field(editor, "endpointPriceOut").setText("2.5")
    press(editor, "saveEndpoint")
    made = Endpoint(
        "mine",
        server.url,
        "Mine",
        "m",
        KEY,
        context=262_144,
        price_prompt=0.6,
        price_completion=2.5,
    )
    assert s.core.settings.endpoints == (made,)
    assert titles(dialog) == ["● Own engine", "Mine"]
    facts = [one.text() for one in dialog.findChildren(QLabel, "endpointFact")]
    assert facts == ["m", "kept in the settings file", "262,144 tokens",
                     "0.6 read, 2.5 written, per million tokens"]  # fmt: skip
    press(dialog, "useEndpoint")
    assert titles(dialog) == ["Own engine", "● Mine"]
    said = [one.text() for one in s.window.chat.findChildren(QLabel)]
    assert "Mine answers. What you write goes there." in said
    assert s.core.settings.run.backend == "mine"
    engine = s.window.findChild(QLabel, "statusEngine")
    assert engine is not None and engine.text() == "● Mine"
    assert s.window.composer.settings.backend == "mine"
    dialog.reject()
    press(settings(s, qtbot), "editEndpoint")


def test_removed_and_brought_back_with_its_use(qtbot: QtBot, stage: Stage) -> None:
    s = stage
    made = Endpoint("a", "https://example.org/v1", "A")
    other = Endpoint("b", "https://example.com/v1", "B")
    s.window.preferences.save(endpoints=(made, other))
    dialog = settings(s, qtbot)
    dialog.endpoints.list.setCurrentRow(1)
    press(dialog, "useEndpoint")
    dialog.activateWindow()
    dialog.endpoints.list.setFocus()
    qtbot.waitUntil(dialog.endpoints.list.hasFocus)
    qtbot.keyClick(dialog.endpoints.list, Qt.Key.Key_Delete)
    assert s.core.settings.endpoints == (other,)
    assert s.core.settings.run.backend == "local"
    assert titles(dialog) == ["● Own engine", "B"]
    press(dialog, "endpointUndo")
    assert s.core.settings.endpoints == (made, other)
    assert s.core.settings.run.backend == "a"
    assert titles(dialog) == ["Own engine", "● A", "B"]
    press(dialog, "duplicateEndpoint")
    assert [(one.id, one.title) for one in s.core.settings.endpoints][2] == ("a-2", "A 2")
    qtbot.keyClick(dialog.endpoints.list, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: any(one.isVisible() for one in dialog.findChildren(EndpointEditor)))
    editor = next(one for one in dialog.findChildren(EndpointEditor) if one.isVisible())
    field(editor, "endpointName").setText("B")
    press(editor, "saveEndpoint")
    problem = editor.findChild(QLabel, "endpointProblem")
    assert problem is not None and "already" in problem.text()
    assert editor.isVisible() and dialog.isVisible()
    editor.reject()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("endpointUrl", "example.org", "begins with http"),
        ("endpointContext", "many", "whole number"),
        ("endpointPriceOut", "cheap", "is a number"),
        ("endpointKeyVariable", "", "which environment variable"),
        ("endpointKeyVariable", "sk-1-2", "not the key itself"),
    ],
)
def test_what_is_wrong_is_said_and_not_saved(
    qtbot: QtBot, stage: Stage, name: str, text: str, words: str
) -> None:
    editor = add(settings(stage, qtbot), "Moonshot")
    field(editor, name).setText(text)
    press(editor, "saveEndpoint")
    problem = editor.findChild(QLabel, "endpointProblem")
    assert problem is not None and words in problem.text()
    assert stage.core.settings.endpoints == ()
    editor.reject()


def test_a_test_that_fails_or_is_cancelled(qtbot: QtBot, stage: Stage, server: Wavering) -> None:
    dialog = settings(stage, qtbot)
    editor = add(dialog, "vLLM")
    fill(editor, server)
    server.models = 401
    press(editor, "testEndpoint")
    qtbot.waitUntil(lambda: len(lines(editor)) == 2, timeout=LONG)
    assert lines(editor) == ["✗ Mine: it says no to Bearer [key]",
                             "Check the key of this endpoint."]  # fmt: skip
    server.go()
    press(editor, "testEndpoint")
    qtbot.waitUntil(lambda: lines(editor)[:1] == ["✗ Mine: connection refused"], timeout=LONG)
    press(editor, "testEndpoint")
    press(editor, "cancelTest")
    assert lines(editor) == []
    test = next(b for b in editor.findChildren(QPushButton, "testEndpoint"))
    assert test.isVisible()
    editor.reject()


def test_rows_of_the_form_and_a_key_in_the_clear(qtbot: QtBot, stage: Stage) -> None:
    editor = add(settings(stage, qtbot), "Anthropic")
    assert box(editor, "endpointThinking").isVisible()
    form = box(editor, "endpointForm")
    form.setCurrentIndex(form.findData("openai"))
    assert not box(editor, "endpointThinking").isVisible()
    caution = editor.findChild(QLabel, "endpointCaution")
    assert caution is not None and not caution.isVisible()
    field(editor, "endpointUrl").setText("http://gpu-box:8000/v1")
    assert caution.isVisible() and "unencrypted" in caution.text()
    field(editor, "endpointUrl").setText("http://[half")
    assert not caution.isVisible()
    editor.reject()
