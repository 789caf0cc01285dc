"""Where cyclic garbage is collected: on the window's thread, and nowhere else."""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

_EVERY_MS = 1000


class GarbageCollection(QObject):
    """Collects for all threads, from the event loop of the one that makes it.

    Python collects on whatever thread happens to allocate. A widget in a cycle would then be
    destroyed beside the window's thread, which brings Qt down. While this object lives Python does
    not collect by itself; plain reference counts free nearly everything at once, as ever.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        gc.disable()
        gc.freeze()  # modules and classes stay: no collection need look at them again
        self._timer = QTimer(self, interval=_EVERY_MS)
        self._timer.timeout.connect(collect_what_is_due)
        self._timer.start()


def collect_what_is_due() -> None:
    """The oldest generation whose threshold is passed, as Python itself would."""
    young, middle, old = (
        count > limit for count, limit in zip(gc.get_count(), gc.get_threshold(), strict=True)
    )
    if young:
        gc.collect(2 if middle and old else 1 if middle else 0)
