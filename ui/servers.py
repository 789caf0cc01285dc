"""The MCP servers of the settings: added by a form or by pasting, on or off, tried, removed."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

import msgspec
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from app.errors import ConfigError
from app.mcp.config import McpServer, ServerView, check_server, parse_servers
from ui.bridge import Bridge
from ui.chat.row_base import button, label, line, set_label_role
from ui.settings.undo_line import UndoLine
from ui.widgets.editor import Editor, choice, text_line, text_lines

_STATES = {
    "off": ("off", "faint"),
    "idle": ("not started", "muted"),
    "ready": ("ready", "good"),
    "failed": ("failed", "bad"),
}
_EXAMPLE = '{"mcpServers": {"notes": {"command": "npx", "args": ["-y", "…"]}}}'


class ServersDialog(QDialog):
    """Signals: ``changed(servers)`` with the settings' own, whenever they are to be saved."""

    changed = Signal(object)

    def __init__(self, bridge: Bridge, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("serversDialog")
        self.setWindowTitle(self.tr("MCP servers"))
        self.resize(760, 480)
        self.setMinimumWidth(640)
        self._bridge = bridge
        self._views: dict[str, ServerView] = {}
        self._own = dict(bridge.core.settings.mcp_servers)
        self._wanted = ""
        self.list = QListWidget()
        self.list.setObjectName("serverList")
        self.list.setAccessibleName(self.tr("Servers"))
        self.list.setFixedWidth(200)
        self.list.currentItemChanged.connect(lambda *_: self._show())
        self._state, self._error = label("muted"), label("bad")
        self._state.setObjectName("serverState")
        self._error.setObjectName("serverError")
        self._error.setWordWrap(True)
        self._tools = QPlainTextEdit()
        self._tools.setObjectName("serverTools")
        self._tools.setAccessibleName(self.tr("Tools of this server"))
        self._tools.setReadOnly(True)
        self._tools.setTabChangesFocus(True)
        self._on = QCheckBox(self.tr("On"))
        self._on.setObjectName("serverOn")
        self._on.clicked.connect(self._switch)
        self._start = button(self.tr("Start and list tools"), "startServer", "")
        self._edit = button(self.tr("Edit…"), "editServer", "")
        self._remove = button(self.tr("Remove"), "removeServer", "", "danger")
        self._start.clicked.connect(self._start_it)
        self._edit.clicked.connect(lambda: self._open_editor(self._name))
        self._remove.clicked.connect(self._remove_it)
        add = button(self.tr("Add…"), "addServer", self.tr("Add a server by a form"))
        paste = button(self.tr("Paste JSON…"), "pasteServers", self.tr("Add what others publish"))
        add.clicked.connect(lambda: self._open_editor(""))
        paste.clicked.connect(self._open_paste)
        self._undo = UndoLine("serverUndo")
        close = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        close.rejected.connect(self.reject)
        right = QVBoxLayout()
        right.addLayout(line(self._on, self._state, None, self._start, self._edit, self._remove))
        right.addWidget(self._error)
        right.addWidget(self._tools, 1)
        right.addStretch()  # where there are none
        grid = QGridLayout(self)
        grid.setContentsMargins(16, 16, 16, 12)
        grid.addWidget(self.list, 0, 0)
        grid.addLayout(right, 0, 1)
        grid.setColumnStretch(1, 1)
        foot = line(add, paste, self._undo, close)
        foot.setStretch(2, 1)
        grid.addLayout(foot, 1, 0, 1, 2)
        self.refresh()

    def refresh(self) -> None:
        """Ask for the servers anew."""
        self._bridge.then(self._bridge.core.servers(), self._fill, owner=self)

    @property
    def _name(self) -> str:
        item = self.list.currentItem()
        return str(item.data(Qt.ItemDataRole.UserRole)) if item else ""

    def _fill(self, found: tuple[tuple[ServerView, ...], str]) -> None:
        views, trouble = found
        wanted = self._wanted or self._name
        self._wanted = ""
        self._views = {view.name: view for view in views}
        self.list.clear()
        for view in views:
            item = QListWidgetItem(f"{view.name}  ({self.tr(_STATES[view.state][0])})")
            item.setData(Qt.ItemDataRole.UserRole, view.name)
            self.list.addItem(item)
            if view.name == wanted:
                self.list.setCurrentItem(item)
        if views and self.list.currentItem() is None:
            self.list.setCurrentRow(0)
        self._show(trouble)

    def _show(self, trouble: str = "") -> None:
        view = self._views.get(self._name)
        for widget in (self._on, self._start, self._edit, self._remove, self._tools):
            widget.setVisible(view is not None)
        if view is None:
            self._state.setText(self.tr("No servers yet: add one, or paste what others publish."))
            set_label_role(self._state, "muted")
            self._error.setText(trouble)
            self._error.setVisible(bool(trouble))
            return
        text, role = _STATES[view.state]
        where = "" if view.own else self.tr(" (from the file that the settings name)")
        self._state.setText(self.tr(text) + where)
        set_label_role(self._state, role)
        self._error.setText(trouble or view.error)
        self._error.setVisible(bool(trouble or view.error))
        self._on.setChecked(not view.server.disabled)
        self._on.setEnabled(view.own)
        self._remove.setEnabled(view.own)
        self._start.setEnabled(view.state != "off")
        server = view.server
        how = server.url or shlex.join((server.command, *server.args))
        tools = [f"{name}: {' '.join(words.split())[:200]}" for name, words in view.tools]
        self._tools.setPlainText("\n".join([how, "", *tools]))

    def _save(self, servers: dict[str, McpServer]) -> None:
        self._undo.clear()
        self._own = servers
        self.changed.emit(dict(servers))
        self.refresh()

    def _switch(self) -> None:
        view = self._views[self._name]
        off = not self._on.isChecked()
        changed = msgspec.structs.replace(view.server, disabled=off)
        self._save(self._own | {view.name: changed})

    def _start_it(self) -> None:
        self._state.setText(self.tr("starting…"))
        core = self._bridge.core
        self._bridge.then(core.start_server(self._name), lambda _: self.refresh(), owner=self)

    def _remove_it(self) -> None:
        before, gone = self._own, self._name
        self._save({name: one for name, one in before.items() if name != gone})
        self._offer_back(self.tr("“{name}” is removed").format(name=gone), before, gone)

    def _offer_back(self, text: str, before: dict[str, McpServer], chosen: str) -> None:
        def undo() -> None:
            self._wanted = chosen
            self._save(before)

        self._undo.offer(text, undo)

    def _open_editor(self, name: str) -> None:
        server = self._views[name].server if name else McpServer(command="npx")
        dialog = ServerEditor(name, server, self._views.keys() - {name}, self)
        dialog.saved.connect(lambda made: self._replace(name, *made))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _replace(self, old: str, name: str, server: McpServer) -> None:
        kept = {n: one for n, one in self._own.items() if n != old}
        self._wanted = name
        self._save(kept | {name: server})

    def _open_paste(self) -> None:
        dialog = PasteEditor(self)
        dialog.saved.connect(self._add)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _add(self, servers: dict[str, McpServer]) -> None:
        before = self._own
        self._wanted = next(iter(servers))
        self._save(before | servers)
        replaced = [name for name, one in servers.items() if before.get(name, one) != one]
        if replaced:
            text = self.tr("Replaced: {names}").format(names=", ".join(replaced))
            self._offer_back(text, before, replaced[0])


class PasteEditor(Editor):
    """Servers as others publish them. Signals: ``saved(dict)`` of McpServer by name."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("paste", self.tr("Paste MCP servers"), parent)
        self.text = text_lines("pasteText", "", 12, _EXAMPLE)
        self.text.setAccessibleName(self.tr("JSON of the servers"))
        self.form.addRow(self.text)
        self.lay_out()
        self.setMinimumWidth(520)

    def read(self) -> dict[str, McpServer]:
        """Raises ConfigError."""
        return parse_servers(self.text.toPlainText())


class ServerEditor(Editor):
    """One server. Signals: ``saved((name, McpServer))``."""

    def __init__(
        self, name: str, server: McpServer, taken: Iterable[str], parent: QWidget | None = None
    ) -> None:
        """``taken``: the names of others."""
        super().__init__("server", self.tr("MCP server"), parent)
        self._server, self._taken = server, frozenset(taken)
        kinds = (
            (self.tr("A program on this machine"), "command"),
            (self.tr("An address (streamable HTTP)"), "url"),
        )
        self._kind = choice("serverKind", kinds, "url" if server.url else "command")
        self._name = text_line("serverName", name)
        command = shlex.join((server.command, *server.args)).strip()
        self._command = text_line("serverCommand", command)
        self._url = text_line("serverUrl", server.url, "https://example.org/mcp")
        pairs = _as_lines(server.headers if server.url else server.env)
        self._pairs = text_lines("serverPairs", pairs, 4)
        self._seconds = text_line("serverSeconds", f"{server.seconds:g}")
        self.add_row(self.tr("Name"), self._name)
        self.add_row(self.tr("Kind"), self._kind)
        self.add_row(self.tr("Command"), self._command)
        self.add_row(self.tr("Address"), self._url)
        self.add_row(self.tr("Environment (NAME=VALUE)"), self._pairs)
        self.add_row(self.tr("Seconds a call may take"), self._seconds)
        self.lay_out()
        self._kind.currentIndexChanged.connect(lambda _: self._show_kind())
        self._show_kind()

    def _show_kind(self) -> None:
        http = self._kind.currentData() == "url"
        self.form.setRowVisible(self._command, not http)
        self.form.setRowVisible(self._url, http)
        words = "Headers (NAME=VALUE)" if http else "Environment (NAME=VALUE)"
        self.rename_row(self._pairs, self.tr(words))

    def read(self) -> tuple[str, McpServer]:
        """Raises ConfigError."""
        name, server = self._name.text().strip(), self._as_written()
        check_server(name, server)
        if name in self._taken:
            raise ConfigError("mcp_server", f"there is a server called {name} already")
        return name, server

    def _as_written(self) -> McpServer:
        pairs = _as_pairs(self._pairs.toPlainText())
        values: dict[str, Any] = {"seconds": _number(self._seconds.text())}
        if self._kind.currentData() == "url":
            values |= {"url": self._url.text().strip(), "headers": pairs, "command": "", "args": ()}
        else:
            words = _words(self._command.text())
            values |= {"command": words[0], "args": tuple(words[1:]), "env": pairs, "url": ""}
        return msgspec.structs.replace(self._server, **values)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError("mcp_server", "the seconds that a call may take are a number") from None


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command) or [""]
    except ValueError:
        raise ConfigError("mcp_server", "a quotation in the command does not end") from None


def _as_lines(pairs: dict[str, str]) -> str:
    return "\n".join(f"{name}={value}" for name, value in pairs.items())


def _as_pairs(text: str) -> dict[str, str]:
    pairs = (one.partition("=") for one in text.splitlines() if one.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}
