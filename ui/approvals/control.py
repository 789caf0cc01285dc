"""Opens the dialog and keeps the banner of unattended runs; between window and core."""

from __future__ import annotations

import time

import msgspec
from PySide6.QtCore import QObject, QTimer

from app.errors import StoreError
from app.events import Unattended
from app.state import ConversationState
from app.trust.policy import Rule
from ui.approvals.dialog import ApprovalsDialog
from ui.bridge import Bridge
from ui.widgets.banner import Banner, BannerColumn

_BANNER = "unattended"


class Approvals(QObject):
    """Of one window, on its thread."""

    def __init__(self, bridge: Bridge, banners: BannerColumn) -> None:
        super().__init__(banners)
        self._bridge = bridge
        self._banners = banners
        self._shown: Unattended | None = None

    def open_dialog(self) -> None:
        """The rules, the scope of the open conversation, the log."""
        core, state = self._bridge.core, self._bridge.state
        rules = core.settings.approvals
        dialog = ApprovalsDialog(rules, running=state.running, parent=self._banners.window())
        dialog.rules_changed.connect(self._keep)
        dialog.unattended.connect(self._set)
        self._bridge.then(core.decisions(), dialog.show_log, owner=dialog)
        dialog.open()

    def show_state(self, state: ConversationState) -> None:
        """A banner as long as nobody is asked here."""
        last = state.path()[-1:]
        own = next((t.unattended for t in last if t.status == "running"), None)
        scope = own or state.unattended
        if scope is not None and scope.until and time.time() >= scope.until:
            scope = None
        if scope == self._shown:
            return
        self._shown = scope
        self._banners.remove(_BANNER)
        if scope is None:
            return
        until = self.tr("for this run")
        if scope.until:
            left = round(max(scope.until - time.time(), 0) * 1000) + 500
            if left < 1 << 31:
                QTimer.singleShot(left, self, lambda: self.show_state(self._bridge.state))
            until = self.tr("until {t}").format(
                t=time.strftime("%H:%M", time.localtime(scope.until))
            )
        what = ", ".join(scope.allow) or self.tr("nothing that would ask")
        other = self.tr("others wait") if scope.otherwise == "ask" else self.tr("others are denied")
        text = self.tr("Unattended {until}: {what} may run; {other}.")
        banner = Banner(_BANNER, "note", text.format(until=until, what=what, other=other), "")
        tip = self.tr("Calls that ask wait for you again")
        banner.add_button(
            self.tr("Ask me again"), "askMeAgain", tip, lambda: self._set(None), "primary"
        )
        self._banners.show_banner(banner, closable=False)

    def _set(self, scope: Unattended | None) -> None:
        id = self._bridge.state.id
        if id:
            self._bridge.then(self._bridge.core.set_unattended(id, scope))

    def _keep(self, rules: tuple[Rule, ...]) -> None:
        core = self._bridge.core
        try:
            core.save_settings(msgspec.structs.replace(core.settings, approvals=rules))
        except StoreError as error:
            self._bridge.failed.emit(error)
