"""What every window of the tests has as the program's own has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app import events as ev
from app.agent.patience import Patience
from app.backends.base import ModelRequest
from app.backends.scripted import Reply
from tests.collecting import garbage_collection as garbage_collection
from tests.ui.stage import MakeStage, Stage


@pytest.fixture(scope="session", autouse=True)
def _collected(garbage_collection: None) -> None:
    """Every window here is of a process that collects as the program does."""


@pytest.fixture
def make_stage(qtbot: QtBot, qapp: QApplication, tmp_path: Path) -> Iterator[MakeStage]:
    """Of a model and settings of runs; what it made is closed after the test."""
    made: list[Stage] = []

    def make(
        model: Callable[[ModelRequest], Reply],
        run: ev.RunSettings = ev.RunSettings(tools=()),  # noqa: B008 - frozen
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> Stage:
        made.append(Stage(tmp_path, qapp, model, run, patience))
        qtbot.waitExposed(made[-1].window)
        return made[-1]

    yield make
    for one in made:
        one.close()
