"""The window: conversations, chat and composer in the middle, trace and engine docked beside."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtGui import QActionGroup, QCloseEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QMainWindow,
)

from app.engines.view import EngineView
from app.errors import RequestError, SelenographError
from app.state import ConversationState
from app.store.journal import ConversationSummary
from ui.actions import ACTIONS, build_actions
from ui.approvals.control import Approvals
from ui.background import Background, tray_of_desktop
from ui.bridge import Bridge
from ui.chat.approval_box import Given
from ui.chat.artefacts import Gallery
from ui.chat.composer import Composer
from ui.chat.view import ChatView
from ui.forms import FormDesk
from ui.frame import central, layout_of, restore_layout
from ui.help import Help
from ui.panels import Panels
from ui.preferences import Preferences
from ui.sidebar.conversation_list import ConversationList
from ui.status_line import StatusLine
from ui.steering.desk import SteeringDesk
from ui.theme import Theme, ThemeSource, current
from ui.troubles import Troubles
from ui.widgets.banner import Banner, BannerColumn


class MainWindow(QMainWindow):
    """Holds the widgets and connects them; what they show comes from the bridge.

    Signals: ``closed`` when it is closed for good.
    """

    closed = Signal()

    def __init__(self, bridge: Bridge, themes: ThemeSource) -> None:
        super().__init__()
        self.setObjectName("mainWindow")
        self.bridge, self._core = bridge, bridge.core
        self._conversation = ""
        self._draft_folder = ""
        self._unsent = ""
        self._summaries: tuple[ConversationSummary, ...] = ()
        self._first_list = True

        self.preferences = Preferences(self, bridge, themes)
        self.sidebar = ConversationList()
        self.banners = BannerColumn()
        self._approvals = Approvals(bridge, self.banners)
        self.chat = ChatView()
        self.composer = Composer(self._core.settings.run, self.preferences.servers)
        self.panels = Panels(self, bridge)
        self.trace, self.context = self.panels.trace, self.panels.context
        self.engine = self.panels.engine
        self.status = StatusLine()
        tray = tray_of_desktop(self.windowIcon(), self)
        self.background = Background(self, lambda: self._core.settings, self._title_of, tray)
        self.forms = FormDesk(self, bridge)
        self.steering = SteeringDesk(self, bridge, self.trace)
        self.troubles = Troubles(
            self.banners,
            self._restart_engine,
            self.panels.open_log,
            self.preferences.open_model,
        )
        self.help = Help(self, self._core)
        self._lay_out()
        desks = (self.steering, self.panels, self.preferences, self.help)
        handlers = self._handlers()
        for desk in desks:
            handlers |= desk.handlers()
        self._actions = build_actions(self, handlers)
        self._fill_menus()
        for desk in (self.steering, self.panels, self.preferences):
            desk.set_actions(self._actions)
        self._connect()
        themes.changed.connect(self._set_theme)
        self._set_theme(current())
        restore_layout(self, self._core.settings.window)
        self.sidebar.shown.connect(self._actions["showSidebar"].setChecked)
        self._show_state(ConversationState())
        self.preferences.tell_endpoint()
        self.troubles.show_notices(self._core.notices)
        bridge.refresh_list()

    # -- layout -------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        writing = (self.steering.bar, self.composer)
        self.setCentralWidget(central(self.sidebar, self.banners, self.chat, writing))
        self.setStatusBar(self.status)
        self.panels.dock(self.sidebar)
        self.resize(1280, 820)
        self.panels.settle()
        self.setMinimumHeight(420)

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
            group.addAction(self._actions[f"theme{choice.capitalize()}"])

    def _handlers(self) -> dict[str, Callable[[], object]]:
        return {
            "newConversation": self.new_conversation,
            "renameConversation": self.sidebar.edit_title,
            "deleteConversation": self.delete_conversation,
            "openFolder": self._ask_folder,
            "quit": self.background.leave,
            "stop": lambda: self._command(self._core.stop, "now"),
            "stopAfterStep": lambda: self._command(self._core.stop, "after_step"),
            "regenerateLast": self._regenerate_last,
            "restartEngine": self._restart_engine,
            "approvals": self._approvals.open_dialog,
            "showSidebar": lambda: self.sidebar.setVisible(self.sidebar.isHidden()),
            "focusComposer": self.composer.editor.setFocus,
            "jumpLatest": self.chat.jump_to_latest,
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
        self.composer.settings_changed.connect(self.preferences.keep_run)
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
        self.steering.bar.wanted_again.connect(self.composer.add)
        chat.restartEngineAsked.connect(self._restart_engine)
        chat.examplePicked.connect(self.send)
        chat.selected.connect(self.panels.inspect)
        chat.glanced.connect(self.panels.follow)
        self.trace.selected.connect(chat.reveal)
        self.panels.restart_asked.connect(self._restart_engine)
        self.panels.model_asked.connect(self.preferences.open_model)
        self.help.said.connect(lambda text: self.status.showMessage(text, 3000))
        preferences = self.preferences
        preferences.elsewhere.connect(self.panels.engine.set_elsewhere)
        preferences.elsewhere.connect(self.status.set_elsewhere)
        preferences.elsewhere.connect(self.chat.set_elsewhere)
        preferences.endpoint_used.connect(self.composer.set_endpoint)
        preferences.servers_changed.connect(self.composer.set_servers)

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

    def _title_of(self, conversation: str) -> str:
        return next((s.title for s in self._summaries if s.id == conversation), "")

    # -- what is shown ------------------------------------------------------------------------

    def _show_state(self, state: ConversationState) -> None:
        self.chat.set_state(state)
        self._approvals.show_state(state)
        self.panels.show_state(state)
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
        self.panels.show_engine(view)
        self.status.set_engine(view)
        self.troubles.show_engine(view)

    def _show_list(self, summaries: tuple[ConversationSummary, ...]) -> None:
        self._summaries = summaries
        self.sidebar.set_summaries(summaries, self._conversation)
        if self._first_list:
            self._first_list = False
            last = self._core.settings.window.conversation
            if not self._conversation and any(s.id == last for s in summaries):
                self.open_conversation(last)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, SelenographError) and error.code == "not_waiting":
            return  # the second click of a double click
        if self._unsent:
            self.composer.write(self._unsent)
            self._unsent = ""
        self.troubles.show_error(error)

    def _set_theme(self, theme: Theme) -> None:
        self.chat.set_theme(theme)
        self.steering.bar.set_theme(theme)
        self.panels.set_theme(theme)

    # -- leaving ------------------------------------------------------------------------------

    def closeEvent(self, event: QCloseEvent) -> None:
        """Remember the layout. Runs go on in the background, or the core stops them."""
        layout = layout_of(self, self.panels.trace_shown, self._conversation)
        self.preferences.save(window=layout)
        if self.background.leaves() == "stay":
            event.ignore()
            return
        event.accept()
        self.closed.emit()
