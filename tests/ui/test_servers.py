"""The list of MCP servers, with a server that really starts."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
)
from pytestqt.qtbot import QtBot

from app.backends.scripted import Reply, ScriptedBackend
from app.core import Core
from app.errors import ConfigError
from app.mcp.config import parse_servers
from app.paths import Paths
from app.settings import Settings
from ui.bridge import Bridge
from ui.servers import PasteDialog, ServerEditor, ServersDialog

PLAIN = Path(__file__).parents[1] / "unit" / "app" / "mcp_tools" / "plain_server.py"
LONG = 20_000


@pytest.fixture
def dialog(tmp_path: Path, qtbot: QtBot) -> Iterator[ServersDialog]:
    core = Core(Paths.under(tmp_path), Settings(), ScriptedBackend([Reply(text="x")]))
    core.start()
    bridge = Bridge(core)
    made = ServersDialog(bridge)
    made.changed.connect(
        lambda servers: core.save_settings(
            msgspec.structs.replace(core.settings, mcp_servers=servers)
        )
    )
    qtbot.addWidget(made)
    made.show()
    yield made
    bridge.close()
    core.close()


def press(dialog: QDialog, name: str) -> None:
    button = dialog.findChild(QPushButton, name)
    assert button is not None and button.isEnabled()
    button.click()


def text(dialog: QDialog, name: str) -> str:
    found = dialog.findChild(QLabel, name)
    assert isinstance(found, QLabel)
    return found.text()


def servers(dialog: ServersDialog) -> dict[str, Any]:
    return dict(dialog._bridge.core.settings.mcp_servers)


def test_a_server_is_added_started_switched_off_and_removed(
    dialog: ServersDialog, qtbot: QtBot
) -> None:
    press(dialog, "addServer")
    editor = dialog.findChild(ServerEditor)
    assert isinstance(editor, ServerEditor)
    name = editor.findChild(QLineEdit, "serverName")
    assert isinstance(name, QLineEdit)
    name.setText("no good name")
    command = editor.findChild(QLineEdit, "serverCommand")
    assert command is not None
    command.setText(shlex.join((sys.executable, "-S", str(PLAIN))))
    press(editor, "saveServers")
    assert "no name for an MCP server" in text(editor, "editorProblem")
    name.setText("trial")
    press(editor, "saveServers")
    qtbot.waitUntil(lambda: text(dialog, "serverState") == "not started", timeout=LONG)
    assert servers(dialog)["trial"].args == ("-S", str(PLAIN))
    press(dialog, "startServer")
    qtbot.waitUntil(lambda: text(dialog, "serverState") == "ready", timeout=LONG)
    tools = dialog.findChild(QPlainTextEdit, "serverTools")
    assert isinstance(tools, QPlainTextEdit) and "add:" in tools.toPlainText()
    on = dialog.findChild(QCheckBox, "serverOn")
    assert isinstance(on, QCheckBox)
    on.click()
    qtbot.waitUntil(lambda: text(dialog, "serverState") == "off", timeout=LONG)
    assert servers(dialog)["trial"].disabled
    press(dialog, "removeServer")
    qtbot.waitUntil(lambda: dialog.list.count() == 0, timeout=LONG)
    assert servers(dialog) == {}


def test_servers_are_pasted_and_say_why_they_fail(dialog: ServersDialog, qtbot: QtBot) -> None:
    press(dialog, "pasteServers")
    paste = dialog.findChild(PasteDialog)
    assert isinstance(paste, PasteDialog)
    paste.text.setPlainText("{nonsense")
    press(paste, "saveServers")
    assert "no list of MCP servers" in text(paste, "pasteProblem")
    gone = {"mcpServers": {"gone": {"command": "/no/such/program", "env": {"A": "b"}}}}
    paste.text.setPlainText(json.dumps(gone))
    press(paste, "saveServers")
    qtbot.waitUntil(lambda: dialog.list.count() == 1, timeout=LONG)
    press(dialog, "startServer")
    qtbot.waitUntil(lambda: text(dialog, "serverState") == "failed", timeout=LONG)
    assert "cannot be started" in text(dialog, "serverError")


def test_an_address_with_headers(dialog: ServersDialog, qtbot: QtBot) -> None:
    press(dialog, "addServer")
    editor = dialog.findChild(ServerEditor)
    assert isinstance(editor, ServerEditor)
    kind, pairs = (
        editor.findChild(QComboBox, "serverKind"),
        editor.findChild(QPlainTextEdit, "serverPairs"),
    )
    assert kind is not None and pairs is not None
    kind.setCurrentIndex(1)
    for name, value in (("serverName", "web"), ("serverUrl", "https://example.org/mcp")):
        line = editor.findChild(QLineEdit, name)
        assert line is not None
        line.setText(value)
    pairs.setPlainText("Authorization=Bearer a=b\n\n")
    with qtbot.waitSignal(dialog.changed):
        press(editor, "saveServers")
    web = servers(dialog)["web"]
    assert (web.command, web.url) == ("", "https://example.org/mcp")
    assert web.headers == {"Authorization": "Bearer a=b"}


@pytest.mark.parametrize("pasted", ["", "[]", '{"a": 1}', "{}", '{"mcpServers": {"a b": {}}}'])
def test_what_is_no_list_of_servers(pasted: str) -> None:
    with pytest.raises(ConfigError):
        parse_servers(pasted)
