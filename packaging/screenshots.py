"""Pictures of the real window for the README: ``python packaging/screenshots.py``.

Runs the program's own engine and the embedded model in a fresh data folder, on whatever screen Qt
finds (``xvfb-run`` where there is none), and writes ``docs/img``: light, dark, streaming, trace,
lanes, endpoints, guards, guard, engine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QLabel,
    QPlainTextEdit,
    QWidget,
)

from app.core import Core
from app.endpoints.config import PRESETS, Endpoint
from app.guard.rules import DEFAULT, GuardRule
from app.paths import Paths
from ui.bridge import Bridge
from ui.garbage import GarbageCollection
from ui.main_window import MainWindow
from ui.settings.guard_editor import GuardEditor
from ui.settings.window import SettingsDialog
from ui.theme import ThemeSource

IMAGES = Path(__file__).parents[1] / "docs" / "img"
PATIENCE = 60.0


def until(app: QApplication, done: Callable[[], bool]) -> None:
    """Let the window live until something is so."""
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            raise SystemExit("the window did not get there in time")
        app.processEvents()
        time.sleep(0.005)


def settle(app: QApplication, seconds: float = 0.4) -> None:
    """Let animations and layouts come to rest."""
    end = time.monotonic() + seconds
    until(app, lambda: time.monotonic() > end)


def press(window: MainWindow, name: str) -> bool:
    """Press the button of a name if it is there."""
    for button in window.findChildren(QAbstractButton, name):
        if button.isVisible():
            button.click()
            return True
    return False


def ask(app: QApplication, window: MainWindow, text: str) -> None:
    """Ask and wait for the end, allowing what is asked."""
    bridge = window.bridge
    turns = len(bridge.state.path())
    window.send(text)

    def ended() -> bool:
        press(window, "allowRun")
        path = bridge.state.path()
        return len(path) > turns and not bridge.state.running

    until(app, ended)
    settle(app)


def notes(folder: Path) -> Path:
    """A folder to ask about."""
    folder.mkdir()
    (folder / "people.md").write_text("Emma likes coffee.\nThe code for Paul is 4711.\n")
    (folder / "prices.txt").write_text("The price of the lamp is 40 euros.\n")
    return folder


def main() -> None:
    """Take all nine."""
    app = QApplication(sys.argv)
    GarbageCollection(app)
    app.setStyle("Fusion")
    themes = ThemeSource(app, "light")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        core = Core(Paths.under(Path(place) / "data"))
        core.start()
        bridge = Bridge(core)
        window = MainWindow(bridge, themes)
        window.resize(1280, 820)
        window.show()
        core.start_engine()
        try:
            until(app, lambda: bridge.engine.phase == "ready")
            window.set_folder(str(notes(Path(place) / "notes")))
            ask(app, window, "What does Emma like? Look in the notes.")
            window.new_conversation()
            settle(app)
            ask(app, window, "What is 17*23 + 4? Use the calculator.")
            ask(app, window, "What is the mean of 12, 7, 30 and 11? Use Python.")
            window.grab().save(str(IMAGES / "light.png"))
            themes.choose("dark")
            settle(app)
            window.grab().save(str(IMAGES / "dark.png"))
            themes.choose("light")
            window.chat.selected.emit(bridge.state.path()[0].steps[0].span)
            window.trace.reveal(bridge.state.path()[0].steps[0].span + "/prompt")
            settle(app)
            window.grab().save(str(IMAGES / "trace.png"))
            bridge.state_changed.connect(lambda _: streaming(window))
            for percent in (15, 20, 35, 45, 60):
                if not hasattr(streaming, "done"):  # it may have been too quick for a frame
                    ask(app, window, f"How much is {percent}% of 240?")
            lanes(app, window)
            model(app, window)
            settings(app, window)
            engine(app, window)
        finally:
            window.close()
            bridge.close()
            core.close()


def lanes(app: QApplication, window: MainWindow) -> None:
    """A picture of eight lanes, opened when they are done."""
    window.findChild(QAction, "showTrace").trigger()
    window.new_conversation()
    effort = window.composer.findChild(QComboBox, "effort")
    effort.setCurrentIndex(effort.findData("heavy"))
    ask(app, window, "What is 17*23 + 4? Use the calculator.")
    window.chat.findChild(QWidget, "lanesHeader").setFocus()
    QTest.keyClick(window.chat.findChild(QWidget, "lanesHeader"), Qt.Key.Key_Space)
    settle(app)
    window.grab().save(str(IMAGES / "lanes.png"))
    effort.setCurrentIndex(effort.findData("standard"))


@contextmanager
def served() -> Iterator[Endpoint]:
    """The embedded model as another server has it."""
    command = [sys.executable, "-m", "app.cli", "serve", "--json", "--no-snapshots"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        try:
            yield Endpoint("workstation", told["url"], "Workstation", "nano", told["token"])
        finally:
            server.terminate()


def model(app: QApplication, window: MainWindow) -> None:
    """A picture of what is foretold of a model, before it is loaded."""
    with tempfile.TemporaryDirectory() as folder:
        shape = Path(folder) / "moonlight-16b-a3b"
        make = [sys.executable, "-m", "engine.make_model", shape.name, str(shape)]
        subprocess.run([*make, "--sparse", "--experts", "int4"], check=True, capture_output=True)
        window.findChild(QAction, "openModel").trigger()
        dialog = window.findChild(SettingsDialog)
        dialog.model.open_folder(shape)
        dense = dialog.findChild(QComboBox, "loadDense")
        dense.setCurrentIndex(dense.findData("int8"))
        until(app, lambda: "INT8" in told(dialog, "forecastReasons")[0])
        dialog.findChild(QLabel, "modelFolder").setText(f"/data/models/{shape.name}")
        settle(app)
        dialog.grab().save(str(IMAGES / "model.png"))
        dialog.reject()
        window.preferences.save(models={})
        settle(app)


def settings(app: QApplication, window: MainWindow) -> None:
    """Pictures of two pages, an endpoint tested, and of a guard being written."""
    presets = [one for one in PRESETS if one.title in ("vLLM", "Moonshot", "Anthropic")]
    others = [msgspec.structs.replace(one.endpoint, id=one.title.lower()) for one in presets]
    guard = GuardRule("project", "regex", ("output",), "redact", (r"(?i)project \w+",))
    with served() as own:
        window.preferences.save(endpoints=(own, *others), guards=(*DEFAULT, guard))
        window.findChild(QAction, "settings").trigger()
        dialog = window.findChildren(SettingsDialog)[-1]
        dialog.show_page(dialog.endpoints)
        dialog.endpoints.list.setCurrentRow(1)
        press(window, "testEndpoint")
        until(app, lambda: told(dialog, "testDoing") and not told(dialog, "testDoing")[0])
        settle(app)
        dialog.grab().save(str(IMAGES / "endpoints.png"))
    dialog.show_page(dialog.guards)
    dialog.guards.list.setCurrentRow(0)
    settle(app)
    dialog.grab().save(str(IMAGES / "guards.png"))
    dialog.guards.list.setCurrentRow(len(DEFAULT))
    dialog.guards.edit_chosen()
    editor = dialog.findChild(GuardEditor)
    sample = editor.findChild(QPlainTextEdit, "guardSample")
    sample.setPlainText("The valve of Project Selene leaks, says the project leader.")
    until(app, lambda: any("places" in text for text in told(editor, "guardTold")))
    settle(app)
    editor.grab().save(str(IMAGES / "guard.png"))
    editor.reject()
    dialog.reject()
    settle(app)


def told(dialog: QWidget, name: str) -> list[str]:
    """What the labels of a name say."""
    return [one.text() for one in dialog.findChildren(QLabel, name)]


def engine(app: QApplication, window: MainWindow) -> None:
    """A picture of the engine panel once it knows the experts and the machine's bounds."""
    panel = window.engine
    window.findChild(QAction, "showEngine").trigger()

    def known() -> bool:
        status = window.bridge.engine.status
        return (
            panel.experts.heat.isVisible()
            and status is not None
            and status.bound_decode_tokens_per_s > 0
        )

    until(app, known)
    # The bounds are the best of three measurements, ten seconds apart, while somebody asks.
    for _ in range(2):
        settle(app, 11.0)
        panel.experts_wanted.emit("start")
    settle(app, 3.0)
    window.grab().save(str(IMAGES / "engine.png"))


def streaming(window: MainWindow) -> None:
    """A picture of the first frame in which the model writes."""
    path = window.bridge.state.path()
    steps = path[-1].steps if path else ()
    if steps and steps[-1].parts and steps[-1].parts[-1].open and not hasattr(streaming, "done"):
        streaming.done = True  # type: ignore[attr-defined]
        window.grab().save(str(IMAGES / "streaming.png"))


if __name__ == "__main__":
    main()
