"""Servers of the settings as tools of a run."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from app import events as ev
from app.backends.scripted import Reply, ScriptedBackend
from app.core import Core
from app.errors import ToolError
from app.events import RunSettings
from app.mcp.config import McpServer
from app.mcp.hub import Hub
from app.paths import Paths
from app.settings import Settings
from app.tools.base import ToolContext
from app.tools.names import covers
from app.tools.registry import Toolbox

PLAIN = McpServer(
    command=sys.executable, args=("-S", str(Path(__file__).with_name("plain_server.py")))
)


def test_what_a_name_covers() -> None:
    assert covers("fs__*", "fs__read") and covers("fs__read", "fs__read")
    assert not covers("fs__*", "fsx__read") and not covers("__*", "__x")
    assert not covers("*", "calculator") and not covers("fs", "fs__read")


async def test_a_server_runs_only_when_it_is_named(tmp_path: Path) -> None:
    settings = Settings(mcp_servers={"plain": PLAIN, "none": McpServer(command="/no/such")})
    box = Toolbox(lambda: settings, Paths.under(tmp_path))
    context = ToolContext("c", None, tmp_path)
    try:
        assert await box.prepare(("calculator", "python")) == []
        assert box.specs(("calculator", "plain__*"))[0].function.name == "calculator"
        assert len(box.specs(("calculator", "plain__*"))) == 1
        problems = await box.prepare(("plain__add", "plain__ask", "none__*", "other__x"))
        assert [name for name, _ in problems] == ["other", "none"]
        names = [spec.function.name for spec in box.specs(("plain__*", "calculator"))]
        assert names[:2] == ["calculator", "plain__add"]
        assert [s.function.name for s in box.specs(("plain__add",))] == ["plain__add"]
        tool = box.get("plain__add")
        assert tool is not None and tool.asks
        arguments = box.parse("plain__add", '{"a": 1, "b": 2}')
        assert "\n3\n" in await tool.run(arguments, context, lambda text: None)
        with pytest.raises(ToolError):
            box.parse("plain__add", "[]")
        settings = msgspec.structs.replace(settings, mcp_servers={})
        assert (await box.prepare(("plain__*",)))[0][1] == "the settings name no such server"
    finally:
        await box.close()


async def test_changed_settings_are_another_server(tmp_path: Path) -> None:
    settings = Settings(mcp_servers={"plain": PLAIN})
    hub = Hub(lambda: settings, tmp_path)
    try:
        await hub.prepare(["plain__*"])
        first = hub.get("plain__add")
        settings = Settings(mcp_servers={"plain": msgspec.structs.replace(PLAIN, seconds=5.0)})
        await hub.prepare(["plain__*"])
        again = hub.get("plain__add")
        assert first is not None and again is not None
        assert first._connection is not again._connection
        assert not first._connection.connected and again._connection.connected
        settings = Settings(mcp_servers={"a b": PLAIN})
        assert "is no name" in (await hub.prepare(["plain__*"]))[0][1]
    finally:
        await hub.close()


def test_a_run_with_a_server(tmp_path: Path) -> None:
    calls = Reply(calls=(("plain__add", '{"a": 2, "b": 3}'),))
    backend = ScriptedBackend([calls, Reply(text="5")])
    settings = Settings(
        run=RunSettings(tools=("plain__*", "gone__*")), mcp_servers={"plain": PLAIN}
    )
    core = Core(Paths.under(tmp_path), settings, backend)
    core.start()
    try:
        conversation = core.create_conversation().result(10)
        turn = core.send(conversation, "go", unattended=ev.Unattended(("*",))).result(10)
        core.wait(conversation).result(60)
        found = core.open(conversation).result(10).turn(turn)
        assert found is not None and found.answer == "5"
        (tool,) = found.steps[0].tools
        assert "\n5\n" in tool.result
        assert [one.text for one in found.remarks] == [
            "Nobody is asked; allowed: *",
            "Without the tools of gone: the settings name no such server",
        ]
        events = core.events(conversation).result(10)
        answered = [e.body for e in events if isinstance(e.body, ev.ApprovalAnswered)]
        assert [a.by for a in answered] == ["unattended"]
    finally:
        core.close()
