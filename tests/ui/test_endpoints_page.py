"""The page of endpoints, in the real window, with an endpoint that really answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app.backends.scripted import Reply
from app.endpoints.config import Endpoint
from tests.ui.parts import box, choose, field, part, press, seen, text
from tests.ui.stage import MakeStage, Stage
from tests.wavering import Wavering, calls
from ui.settings.endpoint_editor import EndpointEditor
from ui.settings.window import SettingsDialog

KEY = "sk-very-secret-4711"
LONG = 20_000


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    return make_stage(lambda request: Reply(text="x"))


@pytest.fixture
def server() -> Iterator[Wavering]:
    made = Wavering([calls("ping", '{"word": "selene"}')])
    made.models = b'{"data": [{"id": "m"}]}'
    yield made
    made.go()


def add(dialog: SettingsDialog, preset: str) -> EndpointEditor:
    """By the menu of the button."""
    menu = part(dialog, QMenu, "addEndpointMenu")
    next(one for one in menu.actions() if one.text() == preset).trigger()
    return seen(dialog, EndpointEditor)


def tried(parent: QWidget) -> list[str]:
    return [one.text() for one in parent.findChildren(QLabel, "testLine") if one.isVisible()]


def titles(dialog: SettingsDialog) -> list[str]:
    shown = dialog.endpoints.list
    return [shown.item(i).text() for i in range(shown.count())]


def fill(editor: EndpointEditor, server: Wavering) -> None:
    field(editor, "endpointName").setText("Mine")
    field(editor, "endpointUrl").setText(server.url + "/")
    choose(editor, "endpointKeyFrom", "kept")
    field(editor, "endpointKey").setText(KEY)


def test_one_is_added_tried_used_and_answers(qtbot: QtBot, stage: Stage, server: Wavering) -> None:
    s = stage
    dialog = s.settings(qtbot)
    assert titles(dialog) == ["● Own engine"]
    editor = add(dialog, "vLLM")
    assert field(editor, "endpointUrl").text() == "http://127.0.0.1:8000/v1"
    fill(editor, server)
    assert field(editor, "endpointKey").echoMode() == QLineEdit.EchoMode.Password
    press(editor, "testEndpoint")
    qtbot.waitUntil(lambda: "Choose a model to test it, too." in tried(editor), timeout=LONG)
    model = box(editor, "endpointModel")
    assert model.currentText() == "m", "the only one there is"
    press(editor, "testEndpoint")
    qtbot.waitUntil(lambda: "✓ Calls tools" in tried(editor), timeout=LONG)
    assert "1 model: m" in tried(editor) and "✓ Thinks apart from its answer" in tried(editor)
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
    assert text(s.window, "statusEngine") == "● Mine"
    assert s.window.composer.settings.backend == "mine"
    dialog.reject()
    press(s.settings(qtbot), "editEndpoint")


def test_removed_and_brought_back_with_its_use(qtbot: QtBot, stage: Stage) -> None:
    s = stage
    made = Endpoint("a", "https://example.org/v1", "A")
    other = Endpoint("b", "https://example.com/v1", "B")
    s.window.preferences.save(endpoints=(made, other))
    dialog = s.settings(qtbot)
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
    editor = seen(dialog, EndpointEditor)
    field(editor, "endpointName").setText("B")
    press(editor, "saveEndpoint")
    assert "already" in text(editor, "endpointProblem")
    assert editor.isVisible() and dialog.isVisible()
    editor.reject()


@pytest.mark.parametrize(
    ("name", "written", "words"),
    [
        ("endpointUrl", "example.org", "begins with http"),
        ("endpointContext", "many", "whole number"),
        ("endpointPriceOut", "cheap", "is a number"),
        ("endpointKeyVariable", "", "which environment variable"),
        ("endpointKeyVariable", "sk-1-2", "not the key itself"),
    ],
)
def test_what_is_wrong_is_said_and_not_saved(
    qtbot: QtBot, stage: Stage, name: str, written: str, words: str
) -> None:
    editor = add(stage.settings(qtbot), "Moonshot")
    field(editor, name).setText(written)
    press(editor, "saveEndpoint")
    assert words in text(editor, "endpointProblem")
    assert stage.core.settings.endpoints == ()
    editor.reject()


def test_a_test_that_fails_or_is_cancelled(qtbot: QtBot, stage: Stage, server: Wavering) -> None:
    dialog = stage.settings(qtbot)
    editor = add(dialog, "vLLM")
    fill(editor, server)
    server.models = 401
    press(editor, "testEndpoint")
    qtbot.waitUntil(lambda: len(tried(editor)) == 2, timeout=LONG)
    assert tried(editor) == ["✗ Mine: it says no to Bearer [key]",
                             "Check the key of this endpoint."]  # fmt: skip
    server.go()
    press(editor, "testEndpoint")
    qtbot.waitUntil(lambda: tried(editor)[:1] == ["✗ Mine: connection refused"], timeout=LONG)
    press(editor, "testEndpoint")
    press(editor, "cancelTest")
    assert tried(editor) == []
    assert part(editor, QPushButton, "testEndpoint").isVisible()
    editor.reject()


def test_rows_of_the_form_and_a_key_in_the_clear(qtbot: QtBot, stage: Stage) -> None:
    editor = add(stage.settings(qtbot), "Anthropic")
    assert box(editor, "endpointThinking").isVisible()
    choose(editor, "endpointForm", "openai")
    assert not box(editor, "endpointThinking").isVisible()
    caution = part(editor, QLabel, "endpointCaution")
    assert not caution.isVisible()
    field(editor, "endpointUrl").setText("http://gpu-box:8000/v1")
    assert caution.isVisible() and "unencrypted" in caution.text()
    field(editor, "endpointUrl").setText("http://[half")
    assert not caution.isVisible()
    editor.reject()
