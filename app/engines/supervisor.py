"""The engine process: spawned, watched, restarted on request, and never left behind."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

import msgspec

from app.engines.client import EngineClient
from app.engines.view import EngineView, Phase
from app.errors import EngineLost, ResourceError, SelenographError
from app.paths import folder_error
from engine.errors import CheckpointError
from engine.protocol import (
    PROTOCOL,
    EngineStatus,
    ExpertReport,
    HeatWindow,
    LoadRequest,
    Ready,
)

_ROOT = Path(__file__).parents[2]
"""Where the packages lie: the child finds ``engine`` there whatever folder it is called from."""
_READY_SECONDS = 60.0
_LEAVE_SECONDS = 5.0
_TAKE_UP_SECONDS = 10.0
"""How long the engine may take to begin to load."""
_POLL_SECONDS = 0.25
_LOG_BYTES = 2_000_000
_TAIL = 200
_SHOWN = 20

_PHASES: dict[str, Phase] = {
    "empty": "off",
    "loading": "loading",
    "ready": "ready",
    "failed": "failed",
}


class Supervisor:
    """One engine at a time. On the core's loop; ``on_change`` hears every new view."""

    def __init__(
        self,
        log_folder: Path,
        on_change: Callable[[EngineView], None],
        request: Callable[[Path], LoadRequest] = lambda model: LoadRequest(str(model)),
    ) -> None:
        """``request`` says at each load how."""
        self._log_path = log_folder / "engine.log"
        self._on_change = on_change
        self._request = request
        self._lines: deque[str] = deque(maxlen=_TAIL)
        self._view = EngineView()
        self._process: asyncio.subprocess.Process | None = None
        self._client: EngineClient | None = None
        self._watch: list[asyncio.Task[None]] = []
        self._following: asyncio.Task[None] | None = None
        self._model: Path | None = None
        self._news = asyncio.Condition()
        self._asked_to_stop = False
        self._loading_seen = False
        self._work = asyncio.Lock()
        self.url = ""
        """Without a path."""
        self.token = ""

    @property
    def view(self) -> EngineView:
        return self._view

    def log(self) -> tuple[str, ...]:
        """The last lines the engine wrote."""
        return tuple(self._lines)

    async def experts(self, window: HeatWindow) -> ExpertReport | None:
        """The running engine's report; None when there is no engine that answers."""
        if self._client is None or self._view.phase != "ready":
            return None
        try:
            return await self._client.experts(window)
        except SelenographError:  # it is asked again anyway, and what ails it is in the view
            return None

    # -- commands -----------------------------------------------------------------------------

    async def start(self, model: Path | None, load: bool = True, port: int = 0) -> None:
        """Have an engine with ``model`` ready; what already runs is used.

        Raises CheckpointError, ResourceError, EngineLost; the view then says the same.
        """
        async with self._work:
            if self._process is None or self._process.returncode is not None:
                await self._spawn(port)
            self._model = model.expanduser().absolute() if model else None
            if load and self._model is not None:
                await self._load(self._model)

    async def restart(self) -> None:
        """A new process with the same model."""
        restarts = self._view.restarts + 1
        await self.stop()
        self._change(replace(self._view, restarts=restarts))
        await self.start(self._model)

    async def stop(self) -> None:
        """End the process, gently first. Idempotent; returns when it is gone."""
        self._asked_to_stop = True
        # The open event stream would hold up the engine's leaving.
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
            self._following = None
        if self._client is not None:
            await self._client.close()
            self._client = None
        process = self._process
        if process is not None and process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            for nudge in (None, process.terminate, process.kill):
                if nudge is not None:
                    with suppress(ProcessLookupError):
                        nudge()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LEAVE_SECONDS):
                        await process.wait()
                        break
        if self._watch:
            await asyncio.wait(self._watch)
            self._watch = []
        self._process = None
        if self._view.phase != "off":
            self._change(EngineView(restarts=self._view.restarts, log_tail=self._tail()))

    # -- inside -------------------------------------------------------------------------------

    async def _spawn(self, port: int) -> None:
        await self.stop()
        self._asked_to_stop = False
        self.token = secrets.token_urlsafe(32)
        self._change(EngineView("starting", restarts=self._view.restarts))
        try:
            log = self._open_log()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "engine", "--port", str(port),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=_ROOT,
                env={**os.environ, "SELENOGRAPH_TOKEN": self.token},
                limit=1 << 20,
            )  # fmt: skip
        except OSError as error:
            raise self._failed(
                ResourceError("cannot_start", f"the engine cannot be started: {error}")
            ) from error
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout is not None
        assert stderr is not None
        reader = asyncio.create_task(self._read_log(stderr, log))
        self._watch = [reader]
        try:
            async with asyncio.timeout(_READY_SECONDS):
                line = await stdout.readline()
            ready = msgspec.json.decode(line, type=Ready)
        except (TimeoutError, ValueError, msgspec.DecodeError) as error:
            await self._kill()
            raise self._failed(self._why_not_ready()) from error
        if ready.protocol != PROTOCOL:
            await self._kill()
            raise self._failed(
                ResourceError("wrong_protocol", "the engine is of another version", "reinstall")
            )
        self.url = f"http://127.0.0.1:{ready.port}"
        self._client = EngineClient(self.url, self.token)
        self._watch.append(asyncio.create_task(self._await_end(self._process, reader)))
        self._following = asyncio.create_task(self._follow(self._client))

    async def _kill(self) -> None:
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            await asyncio.wait(self._watch)
            self._watch = []

    async def _load(self, model: Path) -> None:
        client = self._client
        assert client is not None
        request = self._request(model)
        self._change(replace(self._view, phase="loading", message="", hint="", request=request))
        try:
            before = await client.status()
            self._loading_seen = False
            await client.load(request)
            status = await self._loaded(client, before)
        except EngineLost:
            raise
        except SelenographError as error:
            raise self._failed(error) from None
        self._show(status)
        if status.state != "ready":
            raise self._load_error(status)

    async def _loaded(self, client: EngineClient, before: EngineStatus) -> EngineStatus:
        """The status once loading has ended; what was so before loading began does not count."""
        clock = asyncio.get_running_loop().time
        patience = clock() + _TAKE_UP_SECONDS
        while True:
            async with self._news:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_SECONDS):
                        await self._news.wait()
            if self._view.phase == "lost":
                raise EngineLost("engine_lost", self._view.message, self._view.hint)
            status = await client.status()
            self._loading_seen |= status.state == "loading"
            new = self._loading_seen or _outcome(status) != _outcome(before)
            if status.state in ("ready", "failed") and (new or clock() > patience):
                return status
            if status.state == "empty" and clock() > patience:
                return status

    def _load_error(self, status: EngineStatus) -> SelenographError:
        error = status.error
        if error is None:
            return ResourceError("not_loaded", "the model was not loaded", "load it again")
        kind = CheckpointError if error.type == CheckpointError.kind else ResourceError
        return kind(error.code, error.message, error.hint, retryable=error.retryable)

    async def _follow(self, client: EngineClient) -> None:
        """Keep the view up to date until the stream ends with the process."""
        with suppress(SelenographError):
            async for status in client.events():
                self._show(status)
                async with self._news:
                    self._news.notify_all()

    def _show(self, status: EngineStatus) -> None:
        if self._view.phase == "lost" or self._asked_to_stop:
            return
        self._loading_seen |= status.state == "loading"
        if status.state == "empty" and self._view.phase == "loading":
            return  # asked to load and not yet begun
        error = status.error
        failed = status.state == "failed" and error is not None
        self._change(
            replace(
                self._view,
                phase=_PHASES[status.state],
                status=status,
                message=error.message if failed and error else "",
                hint=error.hint if failed and error else "",
            )
        )

    async def _await_end(
        self, process: asyncio.subprocess.Process, reader: asyncio.Task[None]
    ) -> None:
        code = await process.wait()
        await asyncio.wait([reader])
        if self._asked_to_stop:
            return
        name = signal.Signals(-code).name if code < 0 else ""
        message, hint = _explained(code, name)
        self._change(
            EngineView(
                "lost",
                message=message,
                hint=hint,
                exit_code=code if code >= 0 else None,
                signal=name,
                log_tail=self._tail(),
                restarts=self._view.restarts,
            )
        )
        async with self._news:
            self._news.notify_all()

    async def _read_log(self, stream: asyncio.StreamReader, log: IO[bytes]) -> None:
        with log:
            while True:
                try:
                    line = await stream.readline()
                except ValueError:  # a line over the limit is dropped
                    continue
                if not line:
                    return
                self._lines.append(line.decode("utf-8", "replace").rstrip())
                if log.tell() < _LOG_BYTES:
                    log.write(line)
                    log.flush()

    def _open_log(self) -> IO[bytes]:
        """A new log for each start; the one before is kept."""
        path = self._log_path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                path.replace(path.with_suffix(".old.log"))
            return open(path, "wb")
        except OSError as error:
            raise folder_error(path, error) from error

    def _failed(self, error: SelenographError) -> SelenographError:
        self._change(
            replace(
                self._view,
                phase="failed",
                message=error.message,
                hint=error.hint,
                log_tail=self._tail(),
            )
        )
        return error

    def _why_not_ready(self) -> SelenographError:
        """What the engine said before it left: ``error: CODE: message (hint)``."""
        said = [line for line in self._lines if line.startswith("error: ")]
        code, _, message = (
            said[-1].removeprefix("error: ").partition(": ") if said else ("", "", "")
        )
        if not message:
            code, message = "engine_not_ready", "the engine did not come up"
        return ResourceError(code, message, "" if said else "the engine's log says more")

    def _tail(self) -> tuple[str, ...]:
        return tuple(self._lines)[-_SHOWN:]

    def _change(self, view: EngineView) -> None:
        if view != self._view:
            self._view = view
            self._on_change(view)


def _explained(code: int, name: str) -> tuple[str, str]:
    """What an unasked end means, and what to do. ``name``: of the signal that ended it."""
    if name == "SIGBUS":
        # Only a mapped file raises it here: one that became shorter, or that cannot be read.
        return (
            "The engine process was ended by SIGBUS: a file of the model changed, or its disk "
            "failed, while it was in use.",
            "Check the model's folder with `selenograph inspect`, then restart the engine; "
            "the conversation is kept.",
        )
    how = f"was ended by {name}" if name else f"ended with code {code}"
    return (
        f"The engine process {how}.",
        "Restart the engine; the conversation is kept and can go on.",
    )


def _outcome(status: EngineStatus) -> object:
    return status.state, status.error, status.model_path
