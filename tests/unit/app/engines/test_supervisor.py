"""The supervisor with the real engine process."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from app.backends.base import Finished, ModelRequest
from app.backends.openai_http import OpenAIBackend
from app.engines.client import EngineClient
from app.engines.models import default_model
from app.engines.supervisor import Supervisor
from app.engines.view import EngineView
from app.errors import EngineLost, RequestError, SelenographError
from engine.errors import CheckpointError
from engine.protocol import ChatMessage


class Watched(Supervisor):
    """Keeps the views, and can wait for one."""

    def __init__(self, folder: Path) -> None:
        self.views: list[EngineView] = []
        self._heard = asyncio.Event()
        super().__init__(folder, self._hear)

    def _hear(self, view: EngineView) -> None:
        self.views.append(view)
        self._heard.set()

    async def until(self, wanted: Callable[[EngineView], bool]) -> EngineView:
        async with asyncio.timeout(30):
            while not wanted(self.view):
                self._heard.clear()
                await self._heard.wait()
        return self.view

    @property
    def pid(self) -> int:
        status = self.view.status
        assert status is not None
        return status.pid


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Watched]:
    supervisor = Watched(tmp_path)
    yield supervisor
    await supervisor.stop()


async def test_ready_killed_restarted_stopped(engine: Watched, tmp_path: Path) -> None:
    await engine.start(default_model())
    phases = [view.phase for view in engine.views]
    assert phases[0] == "starting"
    assert "loading" in phases
    assert engine.view.phase == "ready"
    first = engine.pid
    assert str(first) in engine.log()[0] or psutil.pid_exists(first)

    os.kill(first, signal.SIGKILL)
    lost = await engine.until(lambda view: view.phase == "lost")
    assert (lost.signal, lost.exit_code) == ("SIGKILL", None)
    assert "SIGKILL" in lost.message
    assert "Restart" in lost.hint
    assert lost.log_tail

    await engine.restart()
    assert engine.view.phase == "ready"
    assert engine.view.restarts == 1
    assert engine.pid != first
    assert (tmp_path / "engine.log").exists()
    assert (tmp_path / "engine.old.log").exists()

    backend = OpenAIBackend(f"{engine.url}/v1", engine.token, "local", True)
    hello = ModelRequest((ChatMessage("user", "hello"),))
    events = [event async for event in backend.stream(hello)]
    await backend.close()
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.completion_tokens > 0

    second = engine.pid
    await engine.stop()
    assert engine.view.phase == "off"
    assert not psutil.pid_exists(second)
    await engine.stop()


async def test_a_model_that_cannot_be_loaded(engine: Watched, tmp_path: Path) -> None:
    with pytest.raises(SelenographError) as caught:
        await engine.start(tmp_path / "nothing")
    assert engine.view.phase == "failed"
    assert engine.view.message == caught.value.message
    # The same process takes another model.
    pid = engine.pid
    await engine.start(default_model())
    assert engine.view.phase == "ready"
    assert engine.pid == pid
    # And only with the token.
    stranger = EngineClient(engine.url, "x" * 32)
    with pytest.raises(RequestError):
        await stranger.status()
    await stranger.close()


async def test_a_port_that_is_taken(engine: Watched) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SelenographError) as caught:
            await engine.start(default_model(), port=taken.getsockname()[1])
    assert caught.value.code == "port_taken"
    assert engine.view.phase == "failed"


async def test_lost_while_loading_or_answering(engine: Watched) -> None:
    await engine.start(None, load=False)
    client = EngineClient(engine.url, engine.token)
    assert (await client.status()).state == "empty"
    os.kill((await client.status()).pid, signal.SIGKILL)
    await engine.until(lambda view: view.phase == "lost")
    with pytest.raises(EngineLost):
        await client.status()
    await client.close()


async def test_a_model_that_shrinks_while_it_is_used(engine: Watched, tmp_path: Path) -> None:
    """A mapped file that is cut ends the process; what is said of it leads to the folder."""
    folder = tmp_path / "model"
    shutil.copytree(default_model(), folder)
    shards = {path: path.read_bytes() for path in folder.glob("*.safetensors")}
    await engine.start(folder)
    backend = OpenAIBackend(f"{engine.url}/v1", engine.token, "local", True)
    hello = ModelRequest((ChatMessage("user", "hello"),))
    for path in shards:
        os.truncate(path, 0)
    with pytest.raises(SelenographError) as caught:
        async for _ in backend.stream(hello):
            pass
    await backend.close()
    assert caught.value.code == "engine_lost"
    lost = await engine.until(lambda view: view.phase == "lost")
    assert lost.signal == "SIGBUS"
    assert "file of the model changed" in lost.message
    assert "selenograph inspect" in lost.hint

    # The same folder, still cut, is refused; whole again, it answers.
    with pytest.raises(CheckpointError) as refused:
        await engine.restart()
    assert refused.value.code == "shard_truncated"
    for path, content in shards.items():
        path.write_bytes(content)
    await engine.restart()
    assert engine.view.phase == "ready"
    backend = OpenAIBackend(f"{engine.url}/v1", engine.token, "local", True)
    events = [event async for event in backend.stream(hello)]
    assert isinstance(events[-1], Finished)
    await backend.close()
