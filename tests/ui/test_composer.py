"""The composer's choice of tools."""

from __future__ import annotations

from PySide6.QtGui import QAction
from pytestqt.qtbot import QtBot

from app.events import RunSettings
from ui.chat.composer import Composer


def test_tools_of_servers_can_be_chosen(qtbot: QtBot) -> None:
    composer = Composer(RunSettings(tools=("calculator", "other__add")), ("fs",))
    qtbot.addWidget(composer)
    heard: list[RunSettings] = []
    composer.settings_changed.connect(heard.append)
    action = composer.findChild(QAction, "tool_fs__*")
    assert action is not None and not action.isChecked()
    assert action.text() == "All tools of fs (asks before each call)"
    action.setChecked(True)
    assert heard[-1].tools == ("calculator", "fs__*", "other__add")
    action.setChecked(False)
    assert heard[-1].tools == ("calculator", "other__add")
