"""Thousands of damaged streams and model outputs through whole turns.

A share by default; ``SELENOGRAPH_FUZZ=10000`` runs that many of each (some minutes).
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from app import events as ev
from app.agent import history
from app.backends import base
from app.backends.anthropic_form import system_and_messages
from app.backends.anthropic_http import AnthropicBackend
from app.backends.base import Backend
from app.backends.openai_http import OpenAIBackend, Reader
from app.events import Budget, RunSettings
from app.state import Turn, fold_all
from engine.protocol import ChatRequest, Timings, Usage
from engine.server.chunks import ChunkWriter
from engine.text.chat_template import ChatTemplate, Prompt
from engine.text.dialects.kimi_k2 import KIMI_K2
from engine.text.stream_parser import StreamParser
from engine.text.tokenizer import Tokenizer
from engine.text.tool_call import ToolSpec
from engine.types import Ended, Request, SamplingParams, Wrote
from tests.unit.app.agent.bench import DONE, Bench
from tests.unit.app.agent.conftest import bench  # noqa: F401 - a fixture
from tests.unit.app.backends import test_anthropic_http as anthropic
from tests.unit.app.backends import test_openai_http as openai
from tests.unit.app.backends.served import sse
from tests.unit.app.fuzz.damage import MARKERS, Plan, output, plan

COUNT = int(os.environ.get("SELENOGRAPH_FUZZ", "0"))
STREAMS, OUTPUTS = COUNT or 50, COUNT or 45
TIMEOUT = 20.0
"""Seconds for a whole turn; what an endpoint may take in them is far less here."""
QUIET = 0.15
SETTINGS = RunSettings(tools=("echo", "fail"), budget=Budget(steps=6))
NANO = Path(__file__).parents[4] / "resources" / "models" / "nano"
GOOD = {
    "openai": sse(openai.delta(content="It is 12."), openai.finish("stop")),
    "anthropic": sse(
        anthropic.block(0, type="text", text="It is 12."), *anthropic.last("end_turn")
    ),
}

pytestmark = pytest.mark.timeout(max(120, COUNT // 5))


@pytest.fixture(scope="module")
def template() -> ChatTemplate:
    return ChatTemplate.from_folder(NANO, Tokenizer.from_folder(NANO))


def assert_sound(b: Bench, turn: Turn, template: ChatTemplate, what: str) -> None:
    """A known end, everything recorded alike, and a history that any template takes."""
    if turn.failure is not None:
        assert turn.failure.code != "internal", f"{what}: {turn.failure.message}"
        assert turn.failure.message, what
    else:
        assert turn.status in ("answered", "budget"), what
    stored = fold_all(b.journal.events(b.id))
    assert stored.turns == b.live.turns, what
    for step in stored.turns[-1].steps:
        assert not any(part.open for part in step.parts), what
        assert all(tool.status is not None for tool in step.tools), what
    messages = history.messages([turn], "be brief")
    open_calls: list[str] = []
    for message in messages:
        if message.role == "tool":
            assert open_calls and message.tool_call_id == open_calls.pop(0), what
        else:
            assert not open_calls, what
        open_calls += [call.id for call in message.tool_calls]
    assert not open_calls, what
    assert template.render(messages, b.tools.specs(SETTINGS.tools)).token_ids, what
    _, turns, _ = system_and_messages(messages, "127.0.0.1")
    for one, other in pairwise(turns):
        used = [c["id"] for c in one["content"] if c["type"] == "tool_use"]
        results = [c["tool_use_id"] for c in other["content"] if c["type"] == "tool_result"]
        assert used == results, what


async def asked(b: Bench, what: str) -> Turn:
    try:
        async with asyncio.timeout(TIMEOUT):
            return await b.ask(settings=SETTINGS)
    except TimeoutError:
        last = [event.body for event in b.seen[-4:]]
        raise AssertionError(f"{what[:2000]} went on after {last}") from None


def fresh(b: Bench) -> None:
    """A conversation of its own for each case."""
    b.seen.clear()
    b.id = b.conversations.create("", "")


# -- streams -----------------------------------------------------------------------------------


class Server:
    """Sends the next plan, then good replies."""

    def __init__(self, form: str) -> None:
        self._good = GOOD[form]
        self.plans: deque[Plan] = deque()
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = re.search(r"content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            await self._answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        if not self.plans:
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(self._good)
            writer.write(head + self._good)
            await writer.drain()
            return
        what = self.plans.popleft()
        writer.write(what.head)
        for piece in what.pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        while what.sign is not None:
            writer.write(what.sign)
            await writer.drain()
            await asyncio.sleep(QUIET / 5)
        if not what.abort:
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize("form", ["openai", "anthropic"])
async def test_damaged_streams(
    bench: Callable[..., Bench],  # noqa: F811
    template: ChatTemplate,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    monkeypatch.setattr("app.backends.wire.QUIET_SECONDS", QUIET)
    monkeypatch.setattr("app.backends.wire.EVENT_LIMIT", 256 << 10)
    monkeypatch.setattr("app.backends.wire.STREAM_LIMIT", 1 << 20)
    chance = random.Random(form)
    b = bench(DONE)
    met: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    async with Server(form) as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        made = OpenAIBackend(url, "", "it", False), AnthropicBackend(url, "", "it")
        b.other = made[form == "anthropic"]
        for i in range(STREAMS // 2):
            fresh(b)
            case = plan(chance, form)
            server.plans.append(case)
            turn = await asked(b, f"{form} {i}: {case}")
            server.plans.clear()
            assert_sound(b, turn, template, f"{form} {i}: {case.kind}")
            met[case.kind] += 1
            broke = [one.code for one in b.bodies(ev.Retrying)]
            ends[turn.failure.code if turn.failure else broke[0] if broke else turn.status] += 1
        for one in made:
            await one.close()
    print(form, dict(met), dict(ends))
    assert len(met) > 6 and ends["answered"] < STREAMS // 2


# -- model outputs -----------------------------------------------------------------------------


class Parsed:
    """A model's raw text by the engine's parser and chunks to the app's reader, but for HTTP."""

    traits = base.Traits(closes_reasoning=True)
    name = "it"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.outputs: deque[str] = deque()

    async def stream(self, request: base.ModelRequest) -> AsyncIterator[base.BackendEvent]:
        reader = Reader(self.name, True)
        text = self.outputs.popleft() if self.outputs else "so</think>It is 12.<|im_end|>"
        for chunk in self._chunks(text, request):
            for event in reader.read(chunk):
                yield event
        yield reader.finished()

    def _chunks(self, text: str, request: base.ModelRequest) -> list[bytes]:
        tools = tuple(
            ToolSpec(spec.function.name, spec.function.parameters) for spec in request.tools
        )
        calls = sum(len(message.tool_calls) for message in request.messages)
        parser = StreamParser(self._tokenizer, KIMI_K2, True, tools, calls)
        asked = Request("r", Prompt("", (), True, calls), SamplingParams(), tools, print)
        writer = ChunkWriter(asked, ChatRequest(request.messages), "m")
        emissions = [Wrote(tuple(parser.feed(id))) for id in self._ids(text)]
        emissions.append(Wrote(tuple(parser.finish("stop"))))
        reason = "tool_calls" if parser.calls else "stop"
        return [
            msgspec.json.encode(chunk)
            for emission in (*emissions, Ended(reason, Usage(), Timings()))
            for chunk in writer.chunks(emission)
        ]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = []
        special = self._tokenizer.special
        known = [name for name in MARKERS if name in special]
        for part in re.split("(" + "|".join(map(re.escape, known)) + ")", text):
            ids += [special[part]] if part in special else self._tokenizer.encode(part)
            if ids and ids[-1] in self._tokenizer.eos_ids:
                return ids
        return ids

    async def count(self, texts: Sequence[str]) -> tuple[int, ...] | None:
        return tuple(len(text) // 4 for text in texts)

    async def probe(self) -> None:
        pass

    async def close(self) -> None:
        pass


async def test_damaged_model_outputs(
    bench: Callable[..., Bench],  # noqa: F811
    template: ChatTemplate,
) -> None:
    chance = random.Random(7)
    b = bench(DONE)
    model = Parsed(Tokenizer.from_folder(NANO))
    backend: Backend = model
    b.other = backend
    ends: Counter[str] = Counter()
    done = 0
    while done < OUTPUTS:
        fresh(b)
        texts = [output(chance) for _ in range(3)]
        model.outputs.extend(texts)
        turn = await asked(b, repr(texts))
        done += 3 - len(model.outputs)
        model.outputs.clear()
        assert_sound(b, turn, template, repr(texts))
        ends[turn.failure.code if turn.failure else turn.status] += 1
        seen = [m for m in history.messages([turn]) if m.role == "assistant"]
        leaked = [m.content for m in seen if "<|tool_calls_section_begin|>" in (m.content or "")]
        assert not leaked, repr(texts)
    print(dict(ends))
    assert ends["answered"] > 0
