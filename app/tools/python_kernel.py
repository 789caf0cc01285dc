"""The child process of the Python tool: reads cells from stdin, runs them, prints the outcome.

Run as ``python -I python_kernel.py``. It imports the standard library only, since it runs where
nothing of the app should be within reach.

Every line on stdin is a JSON object: ``{"code": …, "mark": …}`` runs a cell,
``{"interrupt": true}`` raises KeyboardInterrupt in the running one. What a cell prints goes to
stdout as it is. Its end is ``\\0MARK\\0``, a JSON object ``{"error": …}`` and a line feed, where
the mark is the caller's secret of this cell.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import json
import os
import queue
import resource
import signal
import sys
import threading
import types
from typing import Any

MEMORY = 4 << 30
FILE_SIZE = 256 << 20
_PR_SET_PDEATHSIG = 1


def main() -> None:
    commands = os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(1, 2)
    _limit()
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
    while True:
        cell = cells.get()
        error = _run(cell["code"], module.__dict__, running)
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        ending = f"\0{cell['mark']}\0{json.dumps({'error': error})}\n".encode()
        while ending:
            ending = ending[os.write(1, ending) :]


def _run(code: str, names: dict[str, Any], running: threading.Event) -> str | None:
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
        finally:
            running.clear()
    except BaseException as error:
        text = ""
        with contextlib.suppress(Exception):
            text = str(error)
        name = type(error).__name__
        return f"{name}: {text}" if text else name
    return None


def _limit() -> None:
    """Die with the app's thread; no core files; bounded memory and files."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for what, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, FILE_SIZE),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing too much is an OSError, not the end


if __name__ == "__main__":
    main()
