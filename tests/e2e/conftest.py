"""A window of the real program: real core, real engine, the embedded model, a screen of its own."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.core import Core
from app.paths import Paths
from app.settings import Settings
from app.store.lock import WindowLock
from tests.collecting import garbage_collection as garbage_collection
from ui.bridge import Bridge
from ui.main_window import MainWindow
from ui.theme import ThemeSource


class Desk:
    """An open window and what is behind it."""

    def __init__(self, paths: Paths, app: QApplication, settings: Settings | None) -> None:
        assert not gc.isenabled(), "widgets would be destroyed on whatever thread allocates"
        paths.make()
        self.lock = WindowLock(paths.window_lock)
        self.core = Core(paths, settings)
        self.core.start()
        self.bridge = Bridge(self.core)
        self.window = MainWindow(self.bridge, ThemeSource(app, "light"))
        self.window.show()
        self.core.start_engine()
        self.open = True

    def close(self) -> None:
        """As the launcher does when the window was closed. Idempotent."""
        if not self.open:
            return
        self.open = False
        self.window.background.leave()
        self.bridge.close()
        self.window.deleteLater()
        self.core.close()
        self.lock.release()


@pytest.fixture
def open_window(
    qtbot: QtBot, qapp: QApplication, tmp_path: Path, garbage_collection: None
) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(settings: Settings | None = None) -> Desk:
        desk = Desk(Paths.under(tmp_path / "data"), qapp, settings)
        desks.append(desk)
        qtbot.waitExposed(desk.window)
        return desk

    yield make
    for desk in desks:
        desk.close()
