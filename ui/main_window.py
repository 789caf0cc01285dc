"""The window: conversations, chat and composer in the middle, trace and engine docked beside."""

from __future__ import annotations

import base64
from collections.abc import Callable
from concurrent.futures import Future
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from PySide6.QtCore import QByteArray, Qt, Signal
from PySide6.QtGui import QActionGroup, QCloseEvent, QGuiApplication
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QMainWindow,
    QMessageBox,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from app.engines.view import EngineView
from app.errors import RequestError, SelenographError, StoreError
from app.events import RunSettings
from app.mcp.config import McpServer, server_names
from app.settings import WindowLayout
from app.state import ConversationState
from app.store.journal import ConversationSummary
from app.terminal.doctor import as_text, diagnose
from ui.actions import ACTIONS, ShortcutsDialog, build_actions
from ui.approvals.control import Approvals
from ui.background import Background, tray_of_desktop
from ui.bridge import Bridge
from ui.chat.approval_box import Given
from ui.chat.artefacts import Gallery
from ui.chat.composer import Composer
from ui.chat.view import ChatView
from ui.context.view import ContextView
from ui.docks import Docks
from ui.engine_panel.panel import EnginePanel
from ui.forms import FormDesk
from ui.servers import ServersDialog
from ui.settings.window import SettingsDialog
from ui.sidebar.conversation_list import ConversationList
from ui.status_line import StatusLine
from ui.steering.desk import SteeringDesk
from ui.theme import Choice, Theme, ThemeSource, current
from ui.trace.view import TraceView
from ui.widgets.banner import Banner, BannerColumn

_COLUMN = 780
"""Width of the chat's column, which the composer keeps to."""
_SAVED_STATE = 2
"""Raised when docks change so that an old layout no longer fits."""


class MainWindow(QMainWindow):
    """Holds the widgets and connects them; what they show comes from the bridge.

    Signals: ``closed`` when it is closed for good.
    """

    closed = Signal()

    def __init__(self, bridge: Bridge, themes: ThemeSource) -> None:
        super().__init__()
        self.setObjectName("mainWindow")
        self.bridge, self._core, self._themes = bridge, bridge.core, themes
        self._conversation = ""
        self._draft_folder = ""
        self._unsent = ""
        self._summaries: tuple[ConversationSummary, ...] = ()
        self._first_list = True

        self.sidebar = ConversationList()
        self.banners = BannerColumn()
        self._approvals = Approvals(bridge, self.banners)
        self.chat = ChatView()
        self.composer = Composer(
            self._core.settings.run,
            server_names(self._core.settings.mcp_servers, self._core.settings.mcp_file),
        )
        self.trace = TraceView()
        self.context = ContextView()
        self.engine = EnginePanel()
        self.status = StatusLine()
        tray = tray_of_desktop(self.windowIcon(), self)
        self.background = Background(self, lambda: self._core.settings, self._title_of, tray)
        self.forms = FormDesk(self, bridge)
        self.steering = SteeringDesk(self, bridge, self.trace)
        self._lay_out()
        self._actions = build_actions(self, self._handlers() | self.steering.handlers())
        self.steering.set_actions(self._actions)
        self._fill_menus()
        self._connect()
        self._themes.changed.connect(self._set_theme)
        self._set_theme(current())
        self._restore_layout(self._core.settings.window)
        self._show_state(ConversationState())
        self._show_endpoint(self._core.settings.run)
        self.show_notices()
        bridge.refresh_list()

    # -- layout -------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        middle = QWidget()
        middle.setMinimumWidth(340)
        column = QVBoxLayout(middle)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.banners)
        column.addWidget(self.chat, 1)
        foot = QHBoxLayout()
        foot.setContentsMargins(24, 4, 24, 12)
        writing = QWidget()
        writing.setMaximumWidth(_COLUMN)
        below = QVBoxLayout(writing)
        below.setContentsMargins(0, 0, 0, 0)
        below.setSpacing(0)
        below.addWidget(self.steering.bar)
        below.addWidget(self.composer)
        foot.addStretch(1)
        foot.addWidget(writing, 1000)
        foot.addStretch(1)
        column.addLayout(foot)
        self._splitter = QSplitter(Qt.Orientation.Horizontal)
        self._splitter.addWidget(self.sidebar)
        self._splitter.addWidget(middle)
        self._splitter.setStretchFactor(1, 1)
        self._splitter.setSizes([230, 900])
        self._splitter.setCollapsible(1, False)
        self.setCentralWidget(self._splitter)
        self.setStatusBar(self.status)
        self._docks = Docks(self, self.sidebar)
        self._trace_dock = self._docks.add("traceDock", self.tr("Trace"), self.trace)
        self._context_dock = self._docks.add("contextDock", self.tr("Context"), self.context)
        self._engine_dock = self._docks.add("engineDock", self.tr("Engine"), self.engine)
        self.resize(1280, 820)
        self._docks.settle()
        self.setMinimumSize(560, 420)

    def _fill_menus(self) -> None:
        bar = self.menuBar()
        menus = {name: bar.addMenu(self.tr(name)) for name in ("Conversation", "Run", "View")}
        menus["Theme"] = menus["View"].addMenu(self.tr("Theme"))
        menus["Help"] = bar.addMenu(self.tr("Help"))
        for spec in ACTIONS:
            if spec.menu:
                menus[spec.menu].addAction(self._actions[spec.id])
        group = QActionGroup(self)
        for choice in ("system", "light", "dark"):
            action = self._actions[f"theme{choice.capitalize()}"]
            group.addAction(action)
            action.setChecked(self._themes.choice == choice)

    def _handlers(self) -> dict[str, Callable[[], object]]:
        return {
            "newConversation": self.new_conversation,
            "renameConversation": self.sidebar.edit_title,
            "deleteConversation": self.delete_conversation,
            "openFolder": self._ask_folder,
            "quit": self.background.leave,
            "settings": self._open_settings,
            "servers": self._open_servers,
            "keepOnClose": self._choose_on_close,
            "notify": lambda: self._save_settings(notify=self._actions["notify"].isChecked()),
            "stop": lambda: self._command(self._core.stop, "now"),
            "stopAfterStep": lambda: self._command(self._core.stop, "after_step"),
            "regenerateLast": self._regenerate_last,
            "restartEngine": self._restart_engine,
            "showTrace": lambda: self._docks.toggle(self._trace_dock),
            "showContext": lambda: self._docks.toggle(self._context_dock),
            "approvals": self._approvals.open_dialog,
            "showEngine": lambda: self._docks.toggle(self._engine_dock),
            "showSidebar": lambda: self.sidebar.setVisible(not self.sidebar.isVisible()),
            "themeSystem": lambda: self._choose_theme("system"),
            "themeLight": lambda: self._choose_theme("light"),
            "themeDark": lambda: self._choose_theme("dark"),
            "focusComposer": self.composer.editor.setFocus,
            "jumpLatest": self.chat.jump_to_latest,
            "shortcuts": lambda: ShortcutsDialog(self).open(),
            "copyDiagnostics": self._copy_diagnostics,
            "about": self._about,
        }

    def _connect(self) -> None:
        bridge, core, chat = self.bridge, self._core, self.chat
        bridge.state_changed.connect(self._show_state)
        bridge.engine_changed.connect(self._show_engine)
        bridge.list_changed.connect(self._show_list)
        bridge.failed.connect(self._failed)
        bridge.heard.connect(self.background.hear)
        bridge.heard.connect(self.forms.hear)
        self.background.opened.connect(self.open_conversation)
        self.sidebar.chosen.connect(self.open_conversation)
        self.sidebar.created.connect(self.new_conversation)
        self.sidebar.renamed.connect(lambda id, title: bridge.then(core.rename(id, title)))
        self.composer.sent.connect(self.send)
        self.composer.stopped.connect(self._actions["stop"].trigger)
        self.composer.stopped_after_step.connect(self._actions["stopAfterStep"].trigger)
        self.composer.folder_chosen.connect(self.set_folder)
        self.composer.folder_wanted.connect(self._ask_folder)
        self.composer.settings_changed.connect(self._keep_run_settings)
        chat.decided.connect(self._decide)
        chat.undoAsked.connect(lambda change: self._command(core.undo_change, change))
        gallery = Gallery(core.blobs.get, self)
        gallery.failed.connect(lambda why: self._failed(RequestError("not_saved", why)))
        chat.set_gallery(gallery)
        chat.regenerate.connect(lambda turn: self._command(core.regenerate, turn))
        chat.edited.connect(lambda turn, text: self._command(core.edit, turn, text))
        chat.branchSelected.connect(lambda turn: self._command(core.select, turn))
        chat.resumeAsked.connect(lambda turn: self._command(core.resume, turn))
        chat.laneStopped.connect(lambda lane: self._command(core.stop_lane, lane))
        self.composer.queued.connect(lambda text: self._command(core.queue_message, text))
        chat.restartEngineAsked.connect(self._restart_engine)
        chat.examplePicked.connect(self.send)
        chat.selected.connect(self._inspect)
        chat.glanced.connect(self._follow_in_trace)
        self.trace.selected.connect(chat.reveal)
        self.engine.restart_asked.connect(self._restart_engine)
        self.engine.stop_asked.connect(lambda: bridge.then(core.stop_engine()))
        self.engine.experts_wanted.connect(
            lambda window: bridge.then(core.experts(window), self.engine.set_experts)
        )
        self.context.selected.connect(self._inspect)
        self.context.wanted.connect(self._draw_context)
        for dock, name, shown in (
            (self._trace_dock, "showTrace", self._trace_shown),
            (self._context_dock, "showContext", self._show_context),
            (self._engine_dock, "showEngine", self._show_log),
        ):
            self._docks.follow(dock, self._actions[name], shown)

    # -- commands -----------------------------------------------------------------------------

    def open_conversation(self, conversation: str) -> None:
        """Show a stored conversation."""
        if conversation == self._conversation:
            return
        self._conversation = conversation
        self.composer.show_conversation(conversation)
        self.sidebar.select(conversation)
        self.bridge.open(conversation)

    def new_conversation(self) -> None:
        """An empty page; the conversation is made when something is sent."""
        self._conversation = self._draft_folder = ""
        self.composer.show_conversation("")
        self.sidebar.select("")
        self.bridge.show_nothing()
        self.composer.editor.setFocus()

    def delete_conversation(self) -> None:
        """Delete the open one, and offer to undo it."""
        id = self._conversation
        if not id:
            return
        title = self.bridge.state.title

        def deleted(_: None) -> None:
            banner = Banner("undo", "card", self.tr("Deleted “{title}”").format(title=title), "")
            banner.add_button(self.tr("Undo"), "undoDelete", self.tr("Bring it back"), undo)
            self.banners.show_banner(banner)

        def undo() -> None:
            self.banners.remove("undo")
            self.bridge.then(self._core.restore(id), lambda _: self.open_conversation(id))

        self.bridge.then(self._core.delete(id), deleted)
        self.new_conversation()

    def send(self, text: str) -> None:
        """Begin a turn, in a new conversation if none is open."""
        self._unsent = text
        settings = self.composer.settings

        def sent(_: str) -> None:
            self._unsent = ""

        def send_to(conversation: str) -> None:
            if not self._conversation:
                self.open_conversation(conversation)
            self.bridge.then(self._core.send(conversation, text, settings), sent)

        if self._conversation:
            send_to(self._conversation)
        else:
            made = self._core.create_conversation("", self._draft_folder)
            self.bridge.then(made, send_to)

    def set_folder(self, folder: str) -> None:
        """The folder that file tools may read."""
        if self._conversation:
            self.bridge.then(self._core.set_folder(self._conversation, folder))
        else:
            self._draft_folder = folder
            self.composer.set_folder(folder)

    def _ask_folder(self) -> None:
        start = self.bridge.state.folder or self._draft_folder or str(Path.home())
        folder = QFileDialog.getExistingDirectory(self, self.tr("Folder for file tools"), start)
        if folder:
            self.set_folder(folder)

    def _command(self, work: Callable[..., Future[Any]], *arguments: object) -> None:
        """Do something in the open conversation."""
        if self._conversation:
            self.bridge.then(work(self._conversation, *arguments))

    def _decide(self, given: Given) -> None:
        if self._conversation:
            decided = self._core.decide(
                self._conversation,
                given.call,
                given.decision,
                given.reason,
                rule=given.rule,
                arguments=given.arguments,
            )
            self.bridge.then(decided)

    def _regenerate_last(self) -> None:
        path = self.bridge.state.path()
        if path and not self.bridge.state.running:
            self._command(self._core.regenerate, path[-1].id)

    def _restart_engine(self) -> None:
        self.banners.remove("engine")
        self._core.restart_engine()

    def _choose_theme(self, choice: Choice) -> None:
        self._themes.choose(choice)
        self._save_settings(theme=choice)

    def _open_settings(self) -> None:
        dialog = SettingsDialog(self.bridge, self)
        dialog.changed.connect(self._keep_settings)
        dialog.endpoint_used.connect(self.composer.set_endpoint)
        dialog.finished.connect(lambda _: dialog.deleteLater())
        dialog.open()

    def _keep_settings(self, values: dict[str, object]) -> None:
        self._save_settings(**values)
        self._show_endpoint(self._core.settings.run)

    def _open_servers(self) -> None:
        dialog = self.findChild(ServersDialog)
        if dialog is None:
            dialog = ServersDialog(self.bridge, self)
            dialog.changed.connect(self._keep_servers)
        dialog.refresh()
        dialog.open()

    def _keep_servers(self, servers: dict[str, McpServer]) -> None:
        self._save_settings(mcp_servers=servers)
        self.composer.set_servers(server_names(servers, self._core.settings.mcp_file))

    def _choose_on_close(self) -> None:
        keep = self._actions["keepOnClose"].isChecked()
        self._save_settings(on_close="keep" if keep else "ask")

    def _title_of(self, conversation: str) -> str:
        return next((s.title for s in self._summaries if s.id == conversation), "")

    def _keep_run_settings(self, run: RunSettings) -> None:
        self._save_settings(run=run)
        self._show_endpoint(run)

    def _save_settings(self, **values: object) -> None:
        try:
            self._core.save_settings(msgspec.structs.replace(self._core.settings, **values))
        except StoreError as error:
            self._failed(error)

    # -- what is shown ------------------------------------------------------------------------

    def _show_state(self, state: ConversationState) -> None:
        self.chat.set_state(state)
        self._approvals.show_state(state)
        if not self._trace_dock.isHidden():
            self.trace.set_state(state)
        self._show_context()
        self.status.set_state(state)
        self.steering.set_state(state)
        path = state.path()
        stopping = bool(path) and path[-1].status == "running" and path[-1].stopping is not None
        self.composer.set_running(state.running, stopping)
        self.composer.set_folder(state.folder if state.id else self._draft_folder)
        for name in ("stop", "stopAfterStep"):
            self._actions[name].setEnabled(state.running)
        self._actions["regenerateLast"].setEnabled(bool(path) and not state.running)
        for name in ("renameConversation", "deleteConversation"):
            self._actions[name].setEnabled(bool(state.id))
        self.setWindowTitle(f"{state.title} – Selenograph" if state.title else "Selenograph")

    def _show_engine(self, view: EngineView) -> None:
        self.chat.set_engine(view)
        self.engine.set_view(view)
        self.status.set_engine(view)
        self._show_log()
        if view.phase not in ("lost", "failed"):
            self.banners.remove("engine")
            return
        banner = Banner("engine", "trouble", view.message, view.hint)
        banner.add_button(
            self.tr("Restart engine"),
            "restartEngineBanner",
            self.tr("Start the engine again (Ctrl+Shift+R)"),
            self._restart_engine,
            "primary",
        )
        banner.add_button(
            self.tr("Show log"), "showEngineLog", self.tr("Open the engine panel"), self._open_log
        )
        self.banners.show_banner(banner)

    def _show_endpoint(self, run: RunSettings) -> None:
        """Tell the engine panel when another endpoint answers."""
        names = {e.id: e.title for e in self._core.settings.endpoints}
        self.engine.set_elsewhere(names.get(run.backend, ""))
        self.status.set_elsewhere(names.get(run.backend, ""))

    def _show_list(self, summaries: tuple[ConversationSummary, ...]) -> None:
        self._summaries = summaries
        self.sidebar.set_summaries(summaries, self._conversation)
        if self._first_list:
            self._first_list = False
            last = self._core.settings.window.conversation
            if not self._conversation and any(s.id == last for s in summaries):
                self.open_conversation(last)

    def _show_log(self) -> None:
        if not self._engine_dock.isHidden():
            self.engine.set_log(self._core.engine_log())

    def _open_log(self) -> None:
        self._docks.show(self._engine_dock)
        self.engine.show_log()

    def _show_context(self) -> None:
        if self.context.isVisible():
            self.context.set_state(self.bridge.state)

    def _draw_context(self) -> None:
        id = self.bridge.state.id
        if id:
            self.bridge.then(self._core.context_map(id), self.context.set_map)

    def _trace_shown(self) -> None:
        if not self._trace_dock.isHidden():
            self.trace.set_state(self.bridge.state)

    def _inspect(self, key: str) -> None:
        """Show what was clicked in the trace."""
        self._docks.show(self._trace_dock)
        self.trace.reveal(key)

    def _follow_in_trace(self, key: str) -> None:
        if self._trace_dock.isVisible():
            self.trace.reveal(key)

    def show_notices(self) -> None:
        """What the core put right on its own."""
        for notice in self._core.notices:
            name = f"notice_{notice.code}"
            self.banners.show_banner(Banner(name, "note", notice.message, notice.hint))

    def _failed(self, error: Exception) -> None:
        if isinstance(error, SelenographError) and error.code == "not_waiting":
            return  # the second click of a double click
        if self._unsent:
            self.composer.write(self._unsent)
            self._unsent = ""
        known = isinstance(error, SelenographError)
        message = error.message if isinstance(error, SelenographError) else repr(error)
        hint = error.hint if isinstance(error, SelenographError) else self.tr("This is a bug.")
        self.banners.show_banner(Banner("error", "trouble" if known else "note", message, hint))

    def _set_theme(self, theme: Theme) -> None:
        self.chat.set_theme(theme)
        self.steering.bar.set_theme(theme)
        self.trace.set_theme(theme)
        self.context.set_theme(theme)
        self.engine.set_theme(theme)

    # -- help ---------------------------------------------------------------------------------

    def _copy_diagnostics(self) -> None:
        log = "\n".join(self._core.engine_log()[-40:])
        QGuiApplication.clipboard().setText(f"{as_text(diagnose(self._core.paths))}\n\n{log}\n")
        self.status.showMessage(self.tr("Diagnostics copied"), 3000)

    def _about(self) -> None:
        box = QMessageBox(self)
        box.setObjectName("about")
        box.setWindowTitle(self.tr("About Selenograph"))
        box.setText(f"Selenograph {version('selenograph')}")
        box.setInformativeText(
            self.tr("A workbench and local engine for thinking agents. Apache-2.0.")
        )
        box.open()

    # -- leaving ------------------------------------------------------------------------------

    def _restore_layout(self, layout: WindowLayout) -> None:
        if layout.geometry:
            self.restoreGeometry(_bytes(layout.geometry))
            self.restoreState(_bytes(layout.state), _SAVED_STATE)
        self._actions["showSidebar"].setChecked(True)
        self._actions["keepOnClose"].setChecked(self._core.settings.on_close == "keep")
        self._actions["notify"].setChecked(self._core.settings.notify)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Remember the layout. Runs go on in the background, or the core stops them."""
        layout = WindowLayout(
            geometry=_text(self.saveGeometry()),
            state=_text(self.saveState(_SAVED_STATE)),
            trace=not self._trace_dock.isHidden(),
            conversation=self._conversation,
        )
        self._save_settings(window=layout)
        if self.background.leaves() == "stay":
            event.ignore()
            return
        event.accept()
        self.closed.emit()


def _text(data: QByteArray) -> str:
    return base64.b64encode(data.data()).decode()


def _bytes(text: str) -> QByteArray:
    return QByteArray.fromBase64(text.encode())
