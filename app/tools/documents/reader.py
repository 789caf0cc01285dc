"""The parsing process as the app sees it: one at a time, limited, replaced when it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from pathlib import Path

import msgspec

from app.errors import ToolError
from app.tools.documents.document import Document, Kind
from app.tools.documents.worker import Ask, Told

SECONDS = 20.0
"""How long one document may take."""

_ROOT = Path(__file__).parents[3]
"""Where the packages lie: the child finds ``app`` there whatever folder it is called from."""


class Reader:
    """Blocking, for any thread; calls wait for each other. The process begins with the first."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = ""

    def read(self, data: bytes, kind: Kind, address: str = "", charset: str = "") -> Document:
        """The text. ``address``: what relative links begin from. Raises ToolError ``unreadable``
        (also when it takes too long or too much memory) or ``stopped``."""
        ask = Ask(len(data), kind, address, charset)
        with self._turn:
            process = self._started()
            late = threading.Timer(self._seconds, self._kill, ["it takes too long to read"])
            late.start()
            try:
                told = self._exchange(process, ask, data)
            finally:
                late.cancel()
        if told.document is None:
            raise ToolError("unreadable", told.problem)
        return told.document

    async def read_async(
        self, data: bytes, kind: Kind, address: str = "", charset: str = ""
    ) -> Document:
        """The same for a coroutine; cancelling it ends the work."""
        work = asyncio.create_task(asyncio.to_thread(self.read, data, kind, address, charset))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self.stop()
            await asyncio.wait([work])
            if not work.cancelled():
                work.exception()
            raise

    def stop(self) -> None:
        """End what is being read, from any thread; its reader gets ``stopped``. Idempotent."""
        self._kill("")

    def close(self) -> None:
        """End the process. A later read begins another."""
        self.stop()

    def _started(self) -> subprocess.Popen[bytes]:
        with self._guard:
            self._killed = ""
            if self._process is not None and self._process.poll() is not None:
                _discard(self._process)
                self._process = None
            if self._process is None:
                try:
                    self._process = subprocess.Popen(
                        (sys.executable, "-m", "app.tools.documents.worker"),
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL,
                        cwd=_ROOT,
                        start_new_session=True,
                    )
                except OSError as error:
                    raise ToolError(
                        "unreadable", f"Python cannot be started: {error.strerror}"
                    ) from error
            return self._process

    def _exchange(self, process: subprocess.Popen[bytes], ask: Ask, data: bytes) -> Told:
        assert process.stdin is not None and process.stdout is not None
        line = b""
        try:
            process.stdin.write(msgspec.json.encode(ask) + b"\n" + data)
            process.stdin.flush()
            line = process.stdout.readline()
        except (OSError, ValueError):  # it was killed meanwhile
            pass
        if line.endswith(b"\n"):
            return msgspec.json.decode(line, type=Told)
        with self._guard:
            why, self._killed = self._killed, ""
        self._kill("")
        if why == "stopped":
            raise ToolError("stopped", "stopped before it was read")
        raise ToolError("unreadable", why or "reading it failed")

    def _kill(self, why: str) -> None:
        with self._guard:
            process, self._process = self._process, None
            if process is None:
                return
            self._killed = why or "stopped"
            _discard(process)


def _discard(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError, ValueError):
                pipe.close()
