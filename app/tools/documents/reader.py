"""The parsing process as the app sees it: one at a time, limited, replaced when it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import msgspec

from app.errors import ToolError
from app.tools.documents.document import Document, Kind
from app.tools.documents.worker import Ask, Told

SECONDS = 20.0
"""Processor time that one document may take."""
PATIENCE = 10
"""How many times that a person waits for it, on a machine that is busy with other things."""

_TOO_LONG = "it takes too long to read"

_ROOT = Path(__file__).parents[3]
"""Where the packages lie: the child finds ``app`` there whatever folder it is called from."""


@dataclass(slots=True)
class Ticket:
    """Names one piece of work, so that it can be stopped and nothing else."""

    stopped: bool = False


class Reader:
    """Blocking, for any thread; calls wait for each other. The process begins with the first."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._turn = threading.Lock()
        self._guard = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = ""
        self._current: Ticket | None = None

    def read(
        self,
        data: bytes,
        kind: Kind,
        address: str = "",
        charset: str = "",
        ticket: Ticket | None = None,
    ) -> Document:
        """The text. ``address``: what relative links begin from; ``ticket``: names this work to
        :meth:`stop`. Raises ToolError ``unreadable`` (also when it takes too long or too much
        memory) or ``stopped``."""
        ask = Ask(len(data), kind, self._seconds, address, charset)
        with self._turn:
            process = self._started(ticket or Ticket())
            late = threading.Timer(self._seconds * PATIENCE, self._kill, [_TOO_LONG])
            late.start()
            try:
                told = self._exchange(process, ask, data)
            finally:
                late.cancel()
                with self._guard:
                    self._current = None
        if told.document is None:
            raise ToolError("unreadable", told.problem)
        return told.document

    async def read_async(
        self, data: bytes, kind: Kind, address: str = "", charset: str = ""
    ) -> Document:
        """The same for a coroutine; cancelling it ends the work."""
        ticket = Ticket()
        work = asyncio.create_task(
            asyncio.to_thread(self.read, data, kind, address, charset, ticket)
        )
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self.stop(ticket)
            await asyncio.wait([work])
            if not work.cancelled():
                work.exception()
            raise

    def stop(self, ticket: Ticket | None = None) -> None:
        """End what is being read, from any thread; its reader gets ``stopped``. With a ticket:
        only that work, also if it has yet to begin."""
        with self._guard:
            if ticket is not None:
                ticket.stopped = True
                if self._current is not ticket:
                    return
            self._kill("stopped")

    def close(self) -> None:
        """End the process. A later read begins another."""
        self.stop()

    def _started(self, ticket: Ticket) -> subprocess.Popen[bytes]:
        with self._guard:
            if ticket.stopped:
                raise ToolError("stopped", "stopped before it was read")
            self._current, self._killed = ticket, ""
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
        if process.returncode == -signal.SIGPROF:
            why = _TOO_LONG
        if why == "stopped":
            raise ToolError("stopped", "stopped before it was read")
        raise ToolError("unreadable", why or "reading it failed")

    def _kill(self, why: str) -> None:
        with self._guard:
            process, self._process = self._process, None
            if process is None:
                return
            self._killed = why
            _discard(process)


def _discard(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError, ValueError):
                pipe.close()
