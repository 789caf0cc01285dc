"""What every window of the tests has as the program's own has it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication

from ui.garbage import GarbageCollection


@pytest.fixture(scope="session", autouse=True)
def garbage_collection(qapp: QApplication) -> Iterator[None]:
    """Widgets that earlier tests left behind must not be destroyed by a thread of a later one."""
    collection = GarbageCollection(qapp)
    yield
    collection.deleteLater()
    gc.enable()
