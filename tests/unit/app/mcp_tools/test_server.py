"""``selenograph mcp`` as the SDK's client sees it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcp import Client, types
from mcp.client.stdio import StdioServerParameters, stdio_client

from app.backends.scripted import Reply, ScriptedBackend
from app.core import Core
from app.errors import RequestError, StoreError
from app.events import NOBODY, RunSettings, Unattended
from app.mcp.server import Scope, make_server
from app.paths import Paths
from app.settings import Settings
from app.store.search import FoundText, search_conversations

CALL = Reply(calls=(("python", '{"code": "1"}'),))
SCOPE = RunSettings(tools=("calculator", "python"))


@asynccontextmanager
async def serving(
    tmp_path: Path, *replies: Reply, unattended: Unattended = NOBODY
) -> AsyncIterator[tuple[Client, Core]]:
    core = Core(Paths.under(tmp_path), Settings(), ScriptedBackend(replies or [Reply(text="")]))
    await asyncio.to_thread(core.start)
    try:
        async with Client(make_server(core, Scope(SCOPE, "", unattended))) as client:
            yield client, core
    finally:
        await asyncio.to_thread(core.close)


def text_of(result: types.CallToolResult) -> str:
    return "".join(block.text for block in result.content if isinstance(block, types.TextContent))


async def test_what_is_offered(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"run_agent_task", "search_conversations"}
        assert set(tools["run_agent_task"].input_schema["properties"]) == {"text", "effort"}
        assert tools["run_agent_task"].input_schema["required"] == ["text"]


async def test_a_task(tmp_path: Path) -> None:
    calls = Reply(calls=(("calculator", '{"expression": "17*23"}'),))
    async with serving(tmp_path, calls, Reply(text="It is 391.")) as (client, _):
        said: list[str | None] = []

        async def show(progress: float, total: float | None, message: str | None) -> None:
            said.append(message)

        result = await client.call_tool(
            "run_agent_task", {"text": "17*23?", "effort": "fast"}, progress_callback=show
        )
        found = json.loads(text_of(result))
        assert found["answer"] == "It is 391."
        assert (found["status"], found["steps"], found["tool_calls"]) == ("answered", 2, 1)
        assert said == ["step 1", "calls calculator", "step 2"]
        listed = await client.call_tool("search_conversations", {"query": "IS 391"})
        (hit,) = json.loads(json.dumps(listed.structured_content))["result"]
        assert (hit["who"], hit["excerpt"]) == ("assistant", "It is 391.")
        assert hit["conversation"] == found["conversation"]


@pytest.mark.parametrize(("unattended", "status"), [(NOBODY, "denied"), (Unattended(("*",)), "ok")])
async def test_the_scope_is_the_persons(
    tmp_path: Path, unattended: Unattended, status: str
) -> None:
    async with serving(tmp_path, CALL, Reply(text="done"), unattended=unattended) as served:
        client, core = served
        found = json.loads(text_of(await client.call_tool("run_agent_task", {"text": "go"})))
        state = core.open(found["conversation"]).result(10)
        assert state.turns[0].steps[0].tools[0].status == status


async def test_a_failure_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _):  # a model that has nothing to say
        result = await client.call_tool("run_agent_task", {"text": "go"})
        assert result.is_error
        result = await client.call_tool("run_agent_task", {"text": ""})
        assert result.is_error
        result = await client.call_tool("search_conversations", {"query": "   "})
        assert result.is_error and "no word" in text_of(result)


async def test_cancelled(tmp_path: Path) -> None:
    slow = Reply(calls=(("python", '{"code": "import time; time.sleep(600)"}'),))
    async with serving(tmp_path, slow, unattended=Unattended(("*",))) as (client, core):
        began = asyncio.Event()

        async def show(progress: float, total: float | None, message: str | None) -> None:
            if message == "calls python":
                began.set()

        task = asyncio.create_task(
            client.call_tool("run_agent_task", {"text": "go"}, progress_callback=show)
        )
        async with asyncio.timeout(60):
            await began.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while core.conversations().result(10)[0].running:
                await asyncio.sleep(0.02)
        (one,) = core.conversations().result(10)
        assert core.open(one.id).result(10).turns[0].status == "stopped"


async def test_as_a_program(tmp_path: Path) -> None:
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "app.cli", "--data", str(tmp_path), "mcp", "--tools", "calculator"],
        env={"PYTHONPATH": ":".join(sys.path), "PYTHONWARNINGS": "ignore"},
        cwd=Path(__file__).parents[4],
    )
    async with Client(stdio_client(parameters)) as client:
        assert len((await client.list_tools()).tools) == 2
        listed = await client.call_tool("search_conversations", {"query": "x"})
        assert listed.structured_content == {"result": []}


# -- the search itself -------------------------------------------------------------------------


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """A database of three conversations, the last deleted."""
    answers = [Reply(text=f"Grüße Nr. {n} " + "x " * 300) for n in range(3)]
    core = Core(Paths.under(tmp_path), Settings(), ScriptedBackend(answers))
    core.start()
    for n in range(3):
        conversation = core.create_conversation().result(10)
        core.send(conversation, f"What of 100% and under_score {n}?").result(10)
        core.wait(conversation).result(30)
        if n == 2:
            core.delete(conversation).result(10)
    core.close()
    return Paths.under(tmp_path).database


def test_words(asked: Path) -> None:
    def find(query: str, limit: int = 9) -> list[FoundText]:
        return search_conversations(asked, query, limit)

    assert [one.who for one in find("GRÜSSE")] == ["assistant", "assistant"]
    assert len(find("100% what")) == 2
    assert [one.who for one in find("100% 1?")] == ["user"]
    assert find("100%", 1) != [] and len(find("100%", 1)) == 1
    assert find("100_") == [] and find("turn.begin") == []
    assert find("grüße")[0].excerpt.endswith("…")
    with pytest.raises(RequestError):
        find("  ")


def test_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        search_conversations(tmp_path / "none.db", "x", 3)
    (tmp_path / "bad.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError):
        search_conversations(tmp_path / "bad.db", "x", 3)
