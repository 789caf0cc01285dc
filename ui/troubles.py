"""What went wrong, as banners: failures, the engine's loss, what was put right without asking."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from PySide6.QtCore import QObject

from app.engines.view import EngineView
from app.errors import SelenographError
from app.notices import Notice
from ui.widgets.banner import Banner, BannerColumn
from ui.words import sentence


class Troubles(QObject):
    """Of one window. ``restart`` starts the engine again, ``open_log`` shows its log,
    ``choose_model`` offers others.
    """

    def __init__(
        self,
        banners: BannerColumn,
        restart: Callable[[], object],
        open_log: Callable[[], object],
        choose_model: Callable[[], object],
    ) -> None:
        super().__init__(banners)
        self._banners, self._restart, self._open_log = banners, restart, open_log
        self._choose_model = choose_model

    def show_error(self, error: Exception) -> None:
        """One that is not expected is told to be a bug."""
        known = isinstance(error, SelenographError)
        message = error.message if isinstance(error, SelenographError) else repr(error)
        hint = error.hint if isinstance(error, SelenographError) else self.tr("This is a bug.")
        self._banners.show_banner(
            Banner("error", "trouble" if known else "note", sentence(message), sentence(hint))
        )

    def show_notices(self, notices: Iterable[Notice]) -> None:
        """What the core put right on its own."""
        for notice in notices:
            name = f"notice_{notice.code}"
            said = sentence(notice.message), sentence(notice.hint)
            self._banners.show_banner(Banner(name, "note", *said))

    def show_engine(self, view: EngineView) -> None:
        """A banner as long as it is lost."""
        if view.phase not in ("lost", "failed"):
            self._banners.remove("engine")
            return
        banner = Banner("engine", "trouble", sentence(view.message), sentence(view.hint))
        banner.add_button(
            self.tr("Restart engine"),
            "restartEngineBanner",
            self.tr("Start the engine again (Ctrl+Shift+R)"),
            self._restart,
            "primary",
        )
        banner.add_button(
            self.tr("Show log"), "showEngineLog", self.tr("Open the engine panel"), self._open_log
        )
        banner.add_button(
            self.tr("Model…"),
            "openModelBanner",
            self.tr("Choose another, or other settings (Ctrl+Shift+O)"),
            self._choose_model,
        )
        self._banners.show_banner(banner)
