"""The page of the model, in the real window: forecasts by the planner, loads by a real engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QMessageBox, QProgressBar, QPushButton, QSpinBox
from pytestqt.qtbot import QtBot

from app.engines.models import default_model
from app.engines.options import EngineOptions
from app.events import RunSettings
from app.settings import Settings, load_settings
from engine.tiny import write_tiny
from tests.e2e.engine_process import write_reciting
from tests.ui.parts import box, choose, part, press, text
from tests.ui.stage import Stage
from ui.settings.model import ModelPage

LONG = 30_000


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A second model."""
    return write_tiny(tmp_path / "tiny")


@pytest.fixture
def stage(qtbot: QtBot, qapp: QApplication, tmp_path: Path) -> Iterator[Stage]:
    """With our own engine."""
    made = Stage(tmp_path / "data", qapp, None, RunSettings(tools=()))
    qtbot.waitExposed(made.window)
    yield made
    made.close()


def page_of(stage: Stage, qtbot: QtBot) -> ModelPage:
    """Opened as a person opens it."""
    stage.press("openModel")
    found = stage.dialog(qtbot, "modelPage")
    assert isinstance(found, ModelPage)
    return found


def foretold(page: ModelPage) -> bool:
    return text(page, "forecastVerdict").endswith("on this machine")


def state(page: ModelPage) -> str:
    return text(page, "modelState")


def saved(stage: Stage) -> Settings:
    return load_settings(stage.core.paths.settings)[0]


def test_another_model_is_looked_at_loaded_and_answers(
    qtbot: QtBot, stage: Stage, other: Path
) -> None:
    page = page_of(stage, qtbot)
    assert text(page, "forecastVerdict") == "Measuring this machine…"
    assert page.findChild(QProgressBar) is not None
    qtbot.waitUntil(lambda: foretold(page), timeout=LONG)
    assert text(page, "forecastVerdict") == "Runs well on this machine"
    assert "tokens/s" in text(page, "forecast_writing")
    assert state(page) == "The engine is off."

    page.open_folder(other)
    assert box(page, "modelChoice").currentText() == "tiny"
    assert text(page, "modelFolder") == str(other)
    assert saved(stage).models == {str(other): EngineOptions()}
    assert saved(stage).model == "", "looking at it does not choose it"
    choose(page, "loadDense", "int8")
    qtbot.waitUntil(lambda: saved(stage).models[str(other)].dense == "int8")
    press(page, "loadModel")
    qtbot.waitUntil(lambda: state(page) == "Loaded with these settings.", timeout=LONG)
    assert not part(page, QPushButton, "loadModel").isEnabled()
    status = stage.bridge.engine.status
    assert status is not None and status.model == "tiny"
    request = stage.bridge.engine.request
    assert request is not None and (request.path, request.dense) == (str(other), "int8")
    assert saved(stage).model == str(other)
    page.window().close()

    stage.ask("hello")
    qtbot.waitUntil(stage.ended, timeout=LONG)
    assert stage.turn.steps[0].calls[0].backend == "tiny"


def test_other_settings_are_seen_loaded_undone_and_kept(
    qtbot: QtBot, stage: Stage, other: Path
) -> None:
    stage.core.start_engine().result()
    page = page_of(stage, qtbot)
    qtbot.waitUntil(lambda: state(page) == "Loaded with these settings.", timeout=LONG)
    first = stage.bridge.engine.status
    part(page, QSpinBox, "loadThreads").setValue(1)
    qtbot.waitUntil(lambda: state(page) == "Loaded with other settings.")
    press(page, "loadModel")
    qtbot.waitUntil(lambda: state(page) == "Loaded with these settings.", timeout=LONG)
    second = stage.bridge.engine.status
    assert first is not None and second is not None
    assert second.threads == 1 and second.pid != first.pid
    press(page, "resetLoad")
    assert saved(stage).models == {} and part(page, QSpinBox, "loadThreads").value() == 0
    press(page, "modelUndo")
    assert saved(stage).models == {"": EngineOptions(threads=1)}
    assert part(page, QSpinBox, "loadThreads").value() == 1

    page.open_folder(other)
    press(page, "forgetModel")
    assert box(page, "modelChoice").count() == 1
    press(page, "modelUndo")
    assert box(page, "modelChoice").currentText() == "tiny"
    assert set(saved(stage).models) == {"", str(other)}


def test_what_was_changed_a_moment_before_closing_is_kept(qtbot: QtBot, stage: Stage) -> None:
    page = page_of(stage, qtbot)
    choose(page, "loadContext", 8_192)
    page.window().close()
    assert saved(stage).models == {"": EngineOptions(max_context=8_192)}
    # What it asked for is not answered any more, and nothing is left of it.
    again = page_of(stage, qtbot)
    assert box(again, "loadContext").currentData() == 8_192


def test_a_folder_without_a_model_cannot_be_loaded(
    qtbot: QtBot, stage: Stage, tmp_path: Path
) -> None:
    page = page_of(stage, qtbot)
    page.open_folder(tmp_path)
    qtbot.waitUntil(lambda: "no config.json" in text(page, "forecastVerdict"), timeout=LONG)
    assert "config.json" in text(page, "forecastNote")
    assert not part(page, QPushButton, "loadModel").isEnabled()
    page.choice.setCurrentIndex(0)
    page.choice.activated.emit(0)
    qtbot.waitUntil(lambda: foretold(page), timeout=LONG)
    assert part(page, QPushButton, "loadModel").isEnabled()


def test_a_model_that_does_not_load_is_told_and_another_is_chosen(
    qtbot: QtBot, stage: Stage, other: Path
) -> None:
    for shard in other.glob("*.safetensors"):
        shard.unlink()
    page = page_of(stage, qtbot)
    page.open_folder(other)
    qtbot.waitUntil(lambda: foretold(page), timeout=LONG)
    press(page, "loadModel")
    qtbot.waitUntil(lambda: stage.bridge.engine.phase == "failed", timeout=LONG)
    qtbot.waitUntil(lambda: state(page) not in ("", "The engine is off."))
    assert "is missing. Download the file again." in state(page)
    page.window().close()
    stage.click(qtbot, "openModelBanner")
    page = stage.dialog(qtbot, "modelPage")
    assert isinstance(page, ModelPage)
    page.choice.setCurrentIndex(0)
    page.choice.activated.emit(0)
    press(page, "loadModel")
    qtbot.waitUntil(lambda: stage.bridge.engine.phase == "ready", timeout=LONG)
    assert saved(stage).model == ""


def test_a_load_is_cancelled_and_begun_again(qtbot: QtBot, stage: Stage) -> None:
    phases: list[str] = []
    leave = stage.core.subscribe_engine(lambda view: phases.append(view.phase))
    page = page_of(stage, qtbot)
    press(page, "loadModel")
    qtbot.waitUntil(lambda: stage.bridge.engine.phase == "starting", timeout=LONG)
    press(page, "cancelLoad")
    qtbot.waitUntil(lambda: state(page) == "The engine is off.", timeout=LONG)
    qtbot.wait(200)
    assert stage.bridge.engine.phase == "off" and not stage.buttons("openModelBanner")
    assert "failed" not in phases, "it was given up, it did not fail"
    press(page, "loadModel")
    qtbot.waitUntil(lambda: state(page) == "Loaded with these settings.", timeout=LONG)
    leave()


def test_a_reply_that_is_written_is_not_cut_off_unasked(
    qtbot: QtBot, stage: Stage, tmp_path: Path
) -> None:
    thought = "<think>what the question"
    endless = write_reciting(tmp_path / "endless", thought, loop_from=1, context=32_768)
    slowly = EngineOptions(speculation="off", threads=1)
    stage.window.preferences.save(model=str(endless), models={str(endless): slowly})
    stage.core.start_engine().result()
    stage.ask("Go on.")
    qtbot.waitUntil(lambda: running(stage), timeout=LONG)
    page = page_of(stage, qtbot)
    page.choice.setCurrentIndex(0)
    page.choice.activated.emit(0)
    press(page, "loadModel")
    asked = part(page.window(), QMessageBox, "confirmLoad")
    assert asked.text() == "The engine is writing a reply."
    pid = pid_of(stage)
    qtbot.keyClick(asked, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: not page.window().findChildren(QMessageBox))
    assert running(stage) and pid_of(stage) == pid and saved(stage).model == str(endless)

    press(page, "loadModel")
    press(page.window(), "confirmLoadYes")
    qtbot.waitUntil(lambda: state(page) == "Loaded with these settings.", timeout=LONG)
    assert pid_of(stage) != pid and saved(stage).model == ""
    page.window().close()
    # The run was cut off, nothing of it is lost, and it can go on with the other model.
    qtbot.waitUntil(stage.ended, timeout=LONG)
    assert "question" in stage.turn.steps[0].parts[0].text
    assert stage.turn.status == "failed"
    stage.click(qtbot, "continueRun")
    qtbot.waitUntil(lambda: stage.ended() and stage.turn.status == "answered", timeout=LONG)
    assert stage.turn.steps[-1].calls[-1].backend == default_model().name


def pid_of(stage: Stage) -> int:
    status = stage.bridge.engine.status
    assert status is not None
    return status.pid


def running(stage: Stage) -> bool:
    status = stage.bridge.engine.status
    return status is not None and status.running > 0


def test_options_written_by_hand_are_shown_and_kept(qtbot: QtBot, stage: Stage) -> None:
    by_hand = EngineOptions(
        max_context=1_000, dense="published", isa="scalar", stream_from=0, expert_memory_bytes=0
    )
    stage.window.preferences.save(models={"": by_hand})
    page = page_of(stage, qtbot)
    assert page.form.options == by_hand
    assert box(page, "loadContext").currentText() == "1,000 tokens"
    assert box(page, "loadMemory").currentData() == "system"
    choose(page, "loadMemory", "most")
    page.form.settle()
    kept = saved(stage).models[""]
    assert (kept.dense, kept.isa, kept.stream_from) == ("published", "scalar", 0)
    assert kept.expert_memory_bytes == 4 << 30
