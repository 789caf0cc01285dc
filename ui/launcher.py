"""``selenograph``: the window, or with a subcommand the terminal. Qt only for the window."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app import cli

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from app.core import Core
    from app.errors import SelenographError

_HINT = 'in the terminal: selenograph run "What is 17*23 + 4?"'
_ICON = Path(__file__).parents[1] / "resources" / "icons" / "selenograph.svg"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    data = _window_data(words)
    if data is _TERMINAL:
        return cli.main(words)
    if not _display():
        cli.complain(f"no_display: there is no display to open a window on ({_HINT})")
        return cli.FAILED
    return open_window(data)


_TERMINAL = Path("terminal")


def _window_data(words: list[str]) -> Path | None:
    """The data folder when the window is asked for, else ``_TERMINAL``."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--data", type=Path)
    try:
        known, rest = parser.parse_known_args(words)
    except argparse.ArgumentError:
        return _TERMINAL
    data: Path | None = known.data
    return _TERMINAL if rest else data


def _display() -> bool:
    if sys.platform != "linux" or os.environ.get("QT_QPA_PLATFORM", "") in ("offscreen", "minimal"):
        return True
    if os.environ.get("WAYLAND_DISPLAY"):
        return True
    display = os.environ.get("DISPLAY", "")
    if display.startswith(":"):
        # Qt ends the process with an abort when nobody answers there.
        path = "/tmp/.X11-unix/X" + display[1:].split(".")[0]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.connect(path)
        except OSError:
            return False
    return bool(display)


def open_window(data: Path | None) -> int:
    """Run the app until its window is closed; the exit code."""
    from PySide6.QtGui import QIcon
    from PySide6.QtWidgets import QApplication

    from app.core import Core
    from app.errors import SelenographError
    from app.paths import Paths
    from app.store.lock import WindowLock
    from ui.garbage import GarbageCollection

    app = QApplication(sys.argv[:1])
    GarbageCollection(app)
    app.setApplicationName("Selenograph")
    app.setDesktopFileName("selenograph")
    app.setWindowIcon(QIcon(str(_ICON)))
    app.setStyle("Fusion")
    paths = Paths.under(data) if data else Paths.default()
    lock = None
    try:
        paths.make()
        lock = WindowLock(paths.window_lock)
        core = Core(paths)
        core.start()
    except SelenographError as error:
        if lock is not None:
            lock.release()
        return _cannot_open(app, error)
    try:
        return _run(app, core)
    finally:
        core.close()
        lock.release()


def _run(app: QApplication, core: Core) -> int:
    from ui.bridge import Bridge
    from ui.main_window import MainWindow
    from ui.theme import ThemeSource

    themes = ThemeSource(app, core.settings.theme)
    bridge = Bridge(core)
    window = MainWindow(bridge, themes)
    # The window may be hidden while a run goes on; what is left open then must not end the program.
    app.setQuitOnLastWindowClosed(False)
    window.closed.connect(app.quit)
    window.show()
    if core.settings.start_engine:
        core.start_engine()  # how that goes is shown by the window
    with _Signals(window.background.leave):
        code = app.exec()
    bridge.close()
    return code


def _cannot_open(app: QApplication, error: SelenographError) -> int:
    """Say why on stderr and, where a person looks at a screen, in a box."""
    from PySide6.QtWidgets import QMessageBox

    cli.complain(str(error))
    sys.stderr.flush()
    if app.platformName() not in ("offscreen", "minimal"):
        box = QMessageBox(QMessageBox.Icon.Warning, "Selenograph", error.message)
        box.setInformativeText(error.hint)
        with _Signals(app.closeAllWindows):
            box.exec()
    return cli.FAILED


class _Signals:
    """Ctrl+C and SIGTERM close the window as its owner would.

    Python handles signals between its own instructions, and Qt's loop runs none of them while it
    waits; so a signal also writes to a socket that Qt listens to.
    """

    def __init__(self, leave: Callable[[], object]) -> None:
        self._leave = leave

    def __enter__(self) -> None:
        from PySide6.QtCore import QSocketNotifier

        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)
        self._before = signal.set_wakeup_fd(self._write.fileno())
        self._notifier = QSocketNotifier(self._read.fileno(), QSocketNotifier.Type.Read)
        self._notifier.activated.connect(lambda *_: self._read.recv(64))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._leave())

    def __exit__(self, *_: object) -> None:
        self._notifier.setEnabled(False)
        signal.set_wakeup_fd(self._before)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        self._read.close()
        self._write.close()


if __name__ == "__main__":
    sys.exit(main())
