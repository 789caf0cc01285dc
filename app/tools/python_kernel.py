"""The child process of the Python tool: reads cells from stdin, runs them, prints the outcome.

Run as ``python -I python_kernel.py``. It imports the standard library only, since it runs where
nothing of the app should be within reach.

Every line on stdin is a JSON object: ``{"code": …, "mark": …}`` runs a cell,
``{"interrupt": true}`` raises KeyboardInterrupt in the running one. What a cell prints goes to
stdout as it is. Its end is ``\\0MARK\\0``, a JSON object ``{"error": …, "artefacts": […],
"pid": …}`` and a line feed, where the mark is the caller's secret of this cell and the number this
process's own. An artefact is ``{"media": …, "title": …, "data": base64}``.

Pictures and tables are recognised by what notebooks recognise them by (``_repr_png_`` and the
like), so that no library needs to be there.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import queue
import signal
import sys
import threading
import types
from typing import Any

_MOST_ARTEFACTS = 16
_LARGEST = 8 << 20
_MOST_BYTES = 20 << 20
_ROWS = 10_000
"""Of a table."""


def main() -> None:
    commands = os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(1, 2)
    cells: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    running = threading.Event()

    def interrupt(*_: object) -> None:
        if running.is_set():
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    main_thread = threading.main_thread().ident

    def read() -> None:
        for line in commands:
            command = json.loads(line)
            if "code" in command:
                cells.put(command)
            elif running.is_set() and main_thread is not None:
                signal.pthread_kill(main_thread, signal.SIGINT)
        with contextlib.suppress(OSError):
            os.killpg(0, signal.SIGKILL)  # the app is gone, and so is everything begun here

    threading.Thread(target=read, daemon=True).start()
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    shown = _Shown()
    module.__dict__["display"] = shown.display
    while True:
        cell = cells.get()
        error = _run(cell["code"], module.__dict__, running, shown)
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        outcome = {"error": error, "artefacts": shown.take(), "pid": os.getpid()}
        ending = f"\0{cell['mark']}\0{json.dumps(outcome)}\n".encode()
        while ending:
            ending = ending[os.write(1, ending) :]


def _run(code: str, names: dict[str, Any], running: threading.Event, shown: _Shown) -> str | None:
    """Run a cell as a notebook does: the last expression's value is shown. Its error, if any."""
    if sys.stdin.closed:  # exit() does that
        sys.stdin = open(os.devnull)  # noqa: SIM115
    try:
        running.set()
        try:
            tree = ast.parse(code, "<cell>")
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "<cell>", "exec"), names)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
                if value is not None:
                    names["_"] = value
                    print(repr(value))
                    shown.add(value)
            shown.add_figures()
        finally:
            running.clear()
    except BaseException as error:
        text = ""
        with contextlib.suppress(Exception):
            text = str(error)
        name = type(error).__name__
        return f"{name}: {text}" if text else name
    return None


class _Shown:
    """What the running cell made for the eye."""

    def __init__(self) -> None:
        self._made: list[dict[str, str]] = []
        self._room = _MOST_BYTES

    def take(self) -> list[dict[str, str]]:
        made, self._made, self._room = self._made, [], _MOST_BYTES
        return made

    def display(self, *values: object) -> None:
        """Show values, as notebooks do."""
        for value in values:
            if not self.add(value):
                print(repr(value))

    def add(self, value: object) -> bool:
        """Whether there is something to see in it."""
        if isinstance(value, type):
            return False
        title = type(value).__name__
        for media, method in (("image/png", "_repr_png_"), ("image/jpeg", "_repr_jpeg_")):
            picture = _asked(value, method)
            if isinstance(picture, str):
                with contextlib.suppress(ValueError):
                    picture = base64.b64decode(picture)
            if isinstance(picture, bytes):
                return self._keep(media, title, picture)
        table = _as_csv(value)
        if table is not None:
            return self._keep("text/csv", title, table.encode())
        html = _asked(value, "_repr_html_")
        if isinstance(html, str):
            return self._keep("text/html", title, html.encode())
        return False

    def add_figures(self) -> None:
        """The open figures of matplotlib, which are closed then."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        for number in pyplot.get_fignums():
            picture, figure = io.BytesIO(), pyplot.figure(number)
            figure.savefig(picture, format="png", bbox_inches="tight")
            self._keep("image/png", figure.get_label() or f"Figure {number}", picture.getvalue())
        pyplot.close("all")

    def _keep(self, media: str, title: str, data: bytes) -> bool:
        fits = len(data) <= min(_LARGEST, self._room) and len(self._made) < _MOST_ARTEFACTS
        if not fits:
            print(f"({media} left out: too large, or too many)")
            return True
        self._room -= len(data)
        text = base64.b64encode(data).decode()
        self._made.append({"media": media, "title": str(title), "data": text})
        return True


def _asked(value: object, method: str) -> object:
    with contextlib.suppress(Exception):
        found = getattr(value, method)()
        return found[0] if isinstance(found, tuple) else found
    return None


def _as_csv(value: Any) -> str | None:
    """Of a data frame, by its methods."""
    with contextlib.suppress(Exception):
        if hasattr(value, "_repr_html_") and hasattr(value, "columns"):
            if hasattr(value, "to_csv"):
                return str(value.head(_ROWS).to_csv())
            if hasattr(value, "write_csv"):
                return str(value.head(_ROWS).write_csv())
    return None


if __name__ == "__main__":
    main()
