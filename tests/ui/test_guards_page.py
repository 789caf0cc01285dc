"""The page of guards, in the real window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QLabel,
    QMenu,
)
from pytestqt.qtbot import QtBot

from app.backends.scripted import Reply
from app.guard.rules import DEFAULT, GuardRule
from tests.ui.parts import choose, field, lines, part, press, seen, text
from tests.ui.stage import MakeStage, Stage
from ui.settings.guard_editor import GuardEditor, _units
from ui.settings.window import SettingsDialog

LONG = 20_000


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    made = make_stage(lambda request: Reply(text="The valve of project Selene leaks."))
    folder = made.core.paths.guards
    folder.mkdir(parents=True)
    for place in (folder.parent, folder):
        place.chmod(0o700)
    (folder / "mine.py").write_text("def check(text, info):\n    return 'no'\n")
    (folder / "shared.py").write_text("def f(text, info): ...\n")
    (folder / "mine.py").chmod(0o600)
    (folder / "shared.py").chmod(0o666)
    return made


def guards(s: Stage, qtbot: QtBot) -> SettingsDialog:
    found = s.settings(qtbot)
    found.tabs.setCurrentWidget(found.guards)
    return found


def add(dialog: SettingsDialog, words: str) -> GuardEditor:
    menu = part(dialog, QMenu, "addGuardMenu")
    next(one for one in menu.actions() if one.text() == words).trigger()
    return seen(dialog, GuardEditor)


def facts(dialog: SettingsDialog) -> list[str]:
    return [one.text() for one in dialog.findChildren(QLabel, "guardFact")]


def test_an_expression_is_tried_saved_and_guards(qtbot: QtBot, stage: Stage) -> None:
    s = stage
    dialog = guards(s, qtbot)
    assert [dialog.guards.list.item(i).text() for i in range(2)] == [r.name for r in DEFAULT]
    editor = add(dialog, "Text, by regular expressions")
    lines(editor, "guardValues").setPlainText("(")
    press(editor, "saveGuard")
    assert "no regular expression" in text(editor, "guardProblem")
    lines(editor, "guardValues").setPlainText(r"(?i)project \w+")
    assert text(editor, "guardProblem") == ""
    sample = lines(editor, "guardSample")
    sample.setPlainText("🌒 Project Moon, project Sun.")
    told = "2 places: words"
    qtbot.waitUntil(lambda: text(editor, "guardTold") == told, timeout=LONG)
    marked = [one.cursor.selectedText() for one in sample.extraSelections()]
    assert marked == ["Project Moon", "project Sun"]
    sample.setPlainText("Nothing of the kind.")
    nothing = "It finds nothing here."
    qtbot.waitUntil(lambda: text(editor, "guardTold") == nothing, timeout=LONG)
    assert sample.extraSelections() == []
    choose(editor, "guardAction", "redact")
    assert "blacked out" in text(editor, "guardEffect")
    press(editor, "saveGuard")
    made = GuardRule("words", "regex", ("output",), "redact", (r"(?i)project \w+",))
    assert s.core.settings.guards == (*DEFAULT, made)
    assert facts(dialog) == ["Text, by regular expressions", r"(?i)project \w+", "replies",
                             "Black it out"]  # fmt: skip
    dialog.reject()
    s.ask("Which valve leaks?")
    qtbot.waitUntil(
        lambda: bool(s.bridge.state.path()) and not s.bridge.state.running, timeout=LONG
    )
    assert s.turn.answer == "The valve of [redacted: words] leaks."


def test_one_is_switched_off_and_on(qtbot: QtBot, stage: Stage) -> None:
    s = stage
    dialog = guards(s, qtbot)
    shown = dialog.guards.list
    shown.setFocus()
    qtbot.waitUntil(shown.hasFocus)
    shown.setCurrentRow(1)
    qtbot.keyClick(shown, Qt.Key.Key_Space)
    assert [one.off for one in s.core.settings.guards] == [False, True]
    assert text(dialog.guards, "guardAbout").startswith("It is off.")
    qtbot.keyClick(shown, Qt.Key.Key_Space)
    assert s.core.settings.guards == DEFAULT
    assert not text(dialog.guards, "guardAbout").startswith("It is off.")


def test_removed_brought_back_and_doubled(qtbot: QtBot, stage: Stage) -> None:
    s = stage
    dialog = guards(s, qtbot)
    shown = dialog.guards.list
    shown.setFocus()
    qtbot.waitUntil(shown.hasFocus)
    for _ in DEFAULT:
        qtbot.keyClick(shown, Qt.Key.Key_Delete)
    assert s.core.settings.guards == ()
    assert text(dialog.guards, "guardTitle") == "No guards"
    press(dialog, "guardUndo")
    assert s.core.settings.guards == (DEFAULT[1],)
    menu = part(dialog, QMenu, "addGuardMenu")
    menu.actions()[-1].trigger()
    assert s.core.settings.guards == (DEFAULT[1], DEFAULT[0])
    press(dialog, "duplicateGuard")
    assert s.core.settings.guards[2].name == f"{DEFAULT[0].name} 2"
    qtbot.keyClick(shown, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: any(e.isVisible() for e in dialog.findChildren(GuardEditor)))
    field(seen(dialog, GuardEditor), "guardName").setText(DEFAULT[0].name)
    press(seen(dialog, GuardEditor), "saveGuard")
    assert "already" in text(seen(dialog, GuardEditor), "guardProblem")
    seen(dialog, GuardEditor).reject()


def test_rows_fit_the_kind_and_own_functions_are_listed(qtbot: QtBot, stage: Stage) -> None:
    dialog = guards(stage, qtbot)
    qtbot.waitUntil(lambda: "mine.py:check" in text(dialog, "guardFunctions"), timeout=LONG)
    assert "✗ shared.py: others may write" in text(dialog, "guardFunctions")
    editor = add(dialog, "What a function of yours says")
    function = editor.findChild(QComboBox, "guardFunction")
    assert function is not None and function.isVisible()
    assert [function.itemText(i) for i in range(function.count())] == ["mine.py:check"]
    assert not lines(editor, "guardValues").isVisible()
    assert not lines(editor, "guardCalls").isVisible()
    call = part(editor, QCheckBox, "guardOn_call")
    call.setChecked(True)
    assert lines(editor, "guardCalls").isVisible()
    lines(editor, "guardSample").setPlainText("anything")
    qtbot.waitUntil(lambda: text(editor, "guardTold") == "It finds no", timeout=LONG)
    for place in ("output", "call"):
        part(editor, QCheckBox, f"guardOn_{place}").setChecked(False)
    assert "where it looks" in text(editor, "guardProblem")
    editor.reject()


def test_an_expression_that_does_not_end_is_told(qtbot: QtBot, stage: Stage) -> None:
    editor = add(guards(stage, qtbot), "Text, by regular expressions")
    lines(editor, "guardValues").setPlainText(r"(a+)+$")
    qtbot.waitUntil(lambda: "very long" in text(editor, "guardTold"), timeout=LONG)
    editor.reject()


@given(st.text())
def test_places_as_qt_counts_them(sample: str) -> None:
    for at in range(len(sample) + 1):
        assert _units(sample, at) == len(sample[:at].encode("utf-16-le", "surrogatepass")) // 2
