"""Widgets in cycles are destroyed on the window's thread, whichever thread allocates."""

from __future__ import annotations

import gc
import threading
import weakref

from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot


def test_a_widget_in_a_cycle_is_destroyed_on_the_window_s_thread(qtbot: QtBot) -> None:
    where: list[threading.Thread] = []
    widget = QWidget()
    widget.own = widget.isVisible  # type: ignore[attr-defined]  # a cycle through the bound method
    weakref.finalize(widget, lambda: where.append(threading.current_thread()))
    del widget
    kept: list[object] = []

    def allocate() -> None:
        for _ in range(20):
            kept.extend([] for _ in range(20 * gc.get_threshold()[0]))

    thread = threading.Thread(target=allocate)
    thread.start()
    thread.join()
    assert not where
    for _ in range(1 + gc.get_threshold()[1] + gc.get_threshold()[2]):
        kept.extend([] for _ in range(2 * gc.get_threshold()[0]))
    qtbot.waitUntil(lambda: bool(where), timeout=30_000)
    assert where == [threading.main_thread()]
