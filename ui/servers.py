"""The MCP servers of the settings: added by a form or by pasting, on or off, tried, removed."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QGridLayout,
    QLineEdit,
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
        close = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        close.rejected.connect(self.reject)
        right = QVBoxLayout()
        right.addLayout(line(self._on, self._state, None, self._start, self._edit, self._remove))
        right.addWidget(self._error)
        right.addWidget(self._tools, 1)
        grid = QGridLayout(self)
        grid.setContentsMargins(16, 16, 16, 12)
        grid.addWidget(self.list, 0, 0)
        grid.addLayout(right, 0, 1)
        grid.setColumnStretch(1, 1)
        grid.addLayout(line(add, paste, None), 1, 0, 1, 2)
        grid.addWidget(close, 1, 1)
        self.refresh()

    def refresh(self) -> None:
        """Ask for the servers anew."""
        self._bridge.then(self._bridge.core.servers(), self._fill)

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
        for widget in (self._on, self._start, self._edit, self._remove):
            widget.setEnabled(view is not None)
        if view is None:
            self._state.setText(self.tr("No servers yet: add one, or paste what others publish."))
            self._error.setText(trouble)
            self._tools.setPlainText("")
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
        self._bridge.then(core.start_server(self._name), lambda _: self.refresh())

    def _remove_it(self) -> None:
        self._save({name: one for name, one in self._own.items() if name != self._name})

    def _open_editor(self, name: str) -> None:
        server = self._views[name].server if name else McpServer(command="npx")
        dialog = ServerEditor(name, server, self)
        dialog.done_with.connect(lambda new, made: self._replace(name, new, made))
        dialog.open()

    def _replace(self, old: str, name: str, server: McpServer) -> None:
        kept = {n: one for n, one in self._own.items() if n != old}
        self._wanted = name
        self._save(kept | {name: server})

    def _open_paste(self) -> None:
        dialog = PasteDialog(self)
        dialog.pasted.connect(self._add)
        dialog.open()

    def _add(self, servers: dict[str, McpServer]) -> None:
        self._wanted = next(iter(servers))
        self._save(self._own | servers)


class PasteDialog(QDialog):
    """Signals: ``pasted(servers)``."""

    pasted = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("pasteDialog")
        self.setWindowTitle(self.tr("Paste MCP servers"))
        self.resize(520, 320)
        self.text = QPlainTextEdit()
        self.text.setObjectName("pasteText")
        self.text.setAccessibleName(self.tr("JSON of the servers"))
        self.text.setPlaceholderText(_EXAMPLE)
        self.text.setTabChangesFocus(True)
        self._problem = label("bad")
        self._problem.setObjectName("pasteProblem")
        self._problem.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 16, 16, 12)
        column.addWidget(self.text)
        column.addWidget(self._problem)
        column.addWidget(_buttons(self, self._take))

    def _take(self) -> None:
        try:
            servers = parse_servers(self.text.toPlainText())
        except ConfigError as error:
            self._problem.setText(error.message)
            return
        self.accept()
        self.pasted.emit(servers)


class ServerEditor(QDialog):
    """One server. Signals: ``done_with(name, server)``."""

    done_with = Signal(str, object)

    def __init__(self, name: str, server: McpServer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("serverEditor")
        self.setWindowTitle(self.tr("MCP server"))
        self.setMinimumWidth(480)
        self._server = server
        self._kind = QComboBox()
        self._kind.addItem(self.tr("A program on this machine"), "command")
        self._kind.addItem(self.tr("An address (streamable HTTP)"), "url")
        self._kind.setCurrentIndex(1 if server.url else 0)
        self._name_line = QLineEdit(name)
        self._command = QLineEdit(shlex.join((server.command, *server.args)).strip())
        self._url = QLineEdit(server.url)
        self._pairs = QPlainTextEdit(_as_lines(server.headers if server.url else server.env))
        self._pairs.setTabChangesFocus(True)
        self._pairs.setFixedHeight(90)
        self._seconds = QLineEdit(f"{server.seconds:g}")
        self._problem = label("bad")
        self._problem.setObjectName("editorProblem")
        self._problem.setWordWrap(True)
        self._form = QFormLayout()
        rows: list[tuple[str, str, QWidget]] = [
            ("Name", "serverName", self._name_line),
            ("Kind", "serverKind", self._kind),
            ("Command", "serverCommand", self._command),
            ("Address", "serverUrl", self._url),
            ("Environment (NAME=VALUE)", "serverPairs", self._pairs),
            ("Seconds a call may take", "serverSeconds", self._seconds),
        ]
        for text, object_name, widget in rows:
            widget.setObjectName(object_name)
            widget.setAccessibleName(self.tr(text))
            self._form.addRow(self.tr(text), widget)
        self._kind.currentIndexChanged.connect(lambda _: self._show_kind())
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 16, 16, 12)
        column.addLayout(self._form)
        column.addWidget(self._problem)
        column.addWidget(_buttons(self, self._take))
        self._show_kind()

    def _show_kind(self) -> None:
        http = self._kind.currentData() == "url"
        self._form.setRowVisible(self._command, not http)
        self._form.setRowVisible(self._url, http)
        title = self._form.labelForField(self._pairs)
        if title is not None:
            words = "Headers (NAME=VALUE)" if http else "Environment (NAME=VALUE)"
            title.setProperty("text", self.tr(words))

    def _take(self) -> None:
        try:
            name, server = self._name_line.text().strip(), self._read()
            check_server(name, server)
        except ConfigError as error:
            self._problem.setText(
                f"{error.message} ({error.hint})" if error.hint else error.message
            )
            return
        except ValueError as error:
            self._problem.setText(str(error))
            return
        self.accept()
        self.done_with.emit(name, server)

    def _read(self) -> McpServer:
        values: dict[str, Any] = {"seconds": float(self._seconds.text())}
        pairs = _as_pairs(self._pairs.toPlainText())
        if self._kind.currentData() == "url":
            values |= {"url": self._url.text().strip(), "headers": pairs, "command": "", "args": ()}
        else:
            words = shlex.split(self._command.text()) or [""]
            values |= {"command": words[0], "args": tuple(words[1:]), "env": pairs, "url": ""}
        return msgspec.structs.replace(self._server, **values)


def _buttons(dialog: QDialog, take: Any) -> QDialogButtonBox:
    kinds = QDialogButtonBox.StandardButton
    made = QDialogButtonBox(kinds.Save | kinds.Cancel)
    made.button(kinds.Save).setObjectName("saveServers")
    made.accepted.connect(take)
    made.rejected.connect(dialog.reject)
    return made


def _as_lines(pairs: dict[str, str]) -> str:
    return "\n".join(f"{name}={value}" for name, value in pairs.items())


def _as_pairs(text: str) -> dict[str, str]:
    pairs = (one.partition("=") for one in text.splitlines() if one.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}
