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
from tests.ui.parts import field, lines, part, press, seen, text
from ui.bridge import Bridge
from ui.servers import PasteEditor, ServerEditor, ServersDialog

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


def servers(dialog: ServersDialog) -> dict[str, Any]:
    return dict(dialog._bridge.core.settings.mcp_servers)


def test_a_server_is_added_started_switched_off_and_removed(
    dialog: ServersDialog, qtbot: QtBot
) -> None:
    press(dialog, "addServer")
    editor = seen(dialog, ServerEditor)
    name = part(editor, QLineEdit, "serverName")
    name.setText("no good name")
    command = part(editor, QLineEdit, "serverCommand")
    command.setText(shlex.join((sys.executable, "-S", str(PLAIN))))
    press(editor, "saveServer")
    assert "no name for an MCP server" in text(editor, "serverProblem")
    name.setText("trial")
    press(editor, "saveServer")
    qtbot.waitUntil(lambda: text(dialog, "serverState") == "not started", timeout=LONG)
    assert servers(dialog)["trial"].args == ("-S", str(PLAIN))
    press(dialog, "startServer")
    qtbot.waitUntil(lambda: text(dialog, "serverState") == "ready", timeout=LONG)
    tools = part(dialog, QPlainTextEdit, "serverTools")
    assert "add:" in tools.toPlainText()
    on = part(dialog, QCheckBox, "serverOn")
    on.click()
    qtbot.waitUntil(lambda: text(dialog, "serverState") == "off", timeout=LONG)
    assert servers(dialog)["trial"].disabled
    press(dialog, "removeServer")
    qtbot.waitUntil(lambda: dialog.list.count() == 0, timeout=LONG)
    assert servers(dialog) == {}
    press(dialog, "serverUndo")
    qtbot.waitUntil(lambda: text(dialog, "serverState") == "off", timeout=LONG)
    assert list(servers(dialog)) == ["trial"]


def test_nothing_is_written_over_unseen(dialog: ServersDialog, qtbot: QtBot) -> None:
    def paste(command: str, *names: str) -> None:
        press(dialog, "pasteServers")
        made = {name: {"command": command} for name in names}
        lines(seen(dialog, PasteEditor), "pasteText").setPlainText(json.dumps({"mcpServers": made}))
        press(seen(dialog, PasteEditor), "savePaste")

    paste("old", "a", "b")
    qtbot.waitUntil(lambda: dialog.list.count() == 2, timeout=LONG)
    undo = part(dialog, QPushButton, "serverUndo")
    assert not undo.isVisible()
    press(dialog, "addServer")
    editor = seen(dialog, ServerEditor)
    for name, value, problem in (
        ("serverName", "a", "There is a server called a already."),
        ("serverName", "c", ""),
        ("serverCommand", "run 'it", "A quotation in the command does not end."),
        ("serverCommand", "run", ""),
        ("serverSeconds", "many", "The seconds that a call may take are a number."),
    ):
        field(editor, name).setText(value)
        if problem:
            press(editor, "saveServer")
            assert text(editor, "serverProblem") == problem
    # What is said has room of its own: the form is not squeezed for it.
    editor.say("wrong in many ways " * 40)
    said, pairs = part(editor, QLabel, "serverProblem"), lines(editor, "serverPairs")
    qtbot.waitUntil(lambda: said.height() >= said.heightForWidth(said.width()) > 80)
    assert pairs.geometry().bottom() < field(editor, "serverSeconds").y() < said.y()
    editor.reject()
    paste("new", "b", "c")
    assert [one.command for one in servers(dialog).values()] == ["old", "new", "new"]
    qtbot.waitUntil(lambda: dialog.list.count() == 3, timeout=LONG)
    assert undo.isVisible()
    press(dialog, "serverUndo")
    qtbot.waitUntil(lambda: dialog.list.count() == 2, timeout=LONG)
    assert [one.command for one in servers(dialog).values()] == ["old", "old"]


def test_servers_are_pasted_and_say_why_they_fail(dialog: ServersDialog, qtbot: QtBot) -> None:
    press(dialog, "pasteServers")
    paste = seen(dialog, PasteEditor)
    paste.text.setPlainText("{nonsense")
    press(paste, "savePaste")
    assert "no list of MCP servers" in text(paste, "pasteProblem")
    gone = {"mcpServers": {"gone": {"command": "/no/such/program", "env": {"A": "b"}}}}
    paste.text.setPlainText(json.dumps(gone))
    press(paste, "savePaste")
    qtbot.waitUntil(lambda: dialog.list.count() == 1, timeout=LONG)
    press(dialog, "startServer")
    qtbot.waitUntil(lambda: text(dialog, "serverState") == "failed", timeout=LONG)
    assert "cannot be started" in text(dialog, "serverError")


def test_an_address_with_headers(dialog: ServersDialog, qtbot: QtBot) -> None:
    press(dialog, "addServer")
    editor = seen(dialog, ServerEditor)
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
        press(editor, "saveServer")
    web = servers(dialog)["web"]
    assert (web.command, web.url) == ("", "https://example.org/mcp")
    assert web.headers == {"Authorization": "Bearer a=b"}


@pytest.mark.parametrize("pasted", ["", "[]", '{"a": 1}', "{}", '{"mcpServers": {"a b": {}}}'])
def test_what_is_no_list_of_servers(pasted: str) -> None:
    with pytest.raises(ConfigError):
        parse_servers(pasted)
