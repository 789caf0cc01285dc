"""Garbage is collected as the window's own program does it; for conftests of tests with windows."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication

from ui.garbage import GarbageCollection


@pytest.fixture(scope="session")
def garbage_collection(qapp: QApplication) -> Iterator[None]:
    """Widgets that earlier tests left behind must not be destroyed by a thread of a later one."""
    collection = GarbageCollection(qapp)
    yield
    collection.deleteLater()
    gc.enable()
