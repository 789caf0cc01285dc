"""What a person chooses for good: settings and the dialogs that change them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QWidget

from app.errors import StoreError
from app.events import RunSettings
from app.mcp.config import McpServer, server_names
from ui.bridge import Bridge
from ui.servers import ServersDialog
from ui.settings.window import SettingsDialog
from ui.theme import Choice, ThemeSource


class Preferences(QObject):
    """Keeps what is chosen. What cannot be saved holds all the same and is told by the bridge.

    Signals: ``elsewhere(name)``: another endpoint answers new runs, empty: our engine does;
    ``endpoint_used(id)``: a person chose it; ``servers_changed(tuple)`` of names.
    """

    elsewhere = Signal(str)
    endpoint_used = Signal(str)
    servers_changed = Signal(object)

    def __init__(self, window: QWidget, bridge: Bridge, themes: ThemeSource) -> None:
        super().__init__(window)
        self._window, self._bridge, self._core = window, bridge, bridge.core
        self._themes = themes
        self._actions: dict[str, QAction] = {}

    def handlers(self) -> dict[str, Callable[[], object]]:
        """Of the actions that belong here."""
        return {
            "settings": self._open_settings,
            "openModel": self.open_model,
            "servers": self._open_servers,
            "keepOnClose": self._choose_on_close,
            "notify": lambda: self.save(notify=self._actions["notify"].isChecked()),
            "themeSystem": lambda: self._choose_theme("system"),
            "themeLight": lambda: self._choose_theme("light"),
            "themeDark": lambda: self._choose_theme("dark"),
        }

    def set_actions(self, actions: dict[str, QAction]) -> None:
        """Those of the window; they show what is chosen."""
        self._actions = actions
        actions["keepOnClose"].setChecked(self._core.settings.on_close == "keep")
        actions["notify"].setChecked(self._core.settings.notify)
        for choice in ("system", "light", "dark"):
            actions[f"theme{choice.capitalize()}"].setChecked(self._themes.choice == choice)

    @property
    def servers(self) -> tuple[str, ...]:
        """The MCP servers whose tools may be chosen."""
        settings = self._core.settings
        return server_names(settings.mcp_servers, settings.mcp_file)

    def save(self, **values: object) -> None:
        """Change fields of the settings."""
        try:
            self._core.save_settings(msgspec.structs.replace(self._core.settings, **values))
        except StoreError as error:
            self._bridge.failed.emit(error)

    def keep_run(self, run: RunSettings) -> None:
        """What new runs are run with."""
        self.save(run=run)
        self.tell_endpoint()

    def tell_endpoint(self) -> None:
        """Emit ``elsewhere``."""
        settings = self._core.settings
        titles = {endpoint.id: endpoint.title for endpoint in settings.endpoints}
        self.elsewhere.emit(titles.get(settings.run.backend, ""))

    # -- inside -------------------------------------------------------------------------------

    def _choose_theme(self, choice: Choice) -> None:
        self._themes.choose(choice)
        self.save(theme=choice)

    def _choose_on_close(self) -> None:
        keep = self._actions["keepOnClose"].isChecked()
        self.save(on_close="keep" if keep else "ask")

    def open_model(self) -> None:
        """Choose a model, and how it is loaded."""
        dialog = self._open_settings()
        dialog.show_page(dialog.model)

    def _open_settings(self) -> SettingsDialog:
        dialog = SettingsDialog(self._bridge, self._window)
        dialog.changed.connect(self._keep)
        dialog.endpoint_used.connect(self.endpoint_used)
        dialog.finished.connect(lambda _: dialog.deleteLater())
        dialog.open()
        return dialog

    def _keep(self, values: dict[str, object]) -> None:
        self.save(**values)
        self.tell_endpoint()

    def _open_servers(self) -> None:
        dialog = self._window.findChild(ServersDialog)
        if dialog is None:
            dialog = ServersDialog(self._bridge, self._window)
            dialog.changed.connect(self._keep_servers)
        dialog.refresh()
        dialog.open()

    def _keep_servers(self, servers: dict[str, McpServer]) -> None:
        self.save(mcp_servers=servers)
        self.servers_changed.emit(self.servers)
