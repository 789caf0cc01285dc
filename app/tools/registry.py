"""The toolbox: every tool there is, and the check of what a model passes to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from app.errors import ToolError
from app.mcp.hub import Hub, McpTool
from app.paths import Paths
from app.settings import Settings
from app.tools.arguments import checked
from app.tools.base import Tool
from app.tools.calculator import Calculator
from app.tools.edits import EditFile, WriteFile
from app.tools.files import ListFiles, ReadFile, SearchFiles
from app.tools.python import Python
from app.tools.sandbox.workplace import Workplace
from app.tools.shell import Shell
from app.tools.web.browse import FindInPage, NextPage, OpenPage, Shelf
from app.tools.web.search import WebSearch
from engine.protocol import ToolSpec


class Toolbox:
    """The tools in the order in which a model is told of them. On the core's loop."""

    def __init__(self, settings: Callable[[], Settings], paths: Paths) -> None:
        """``settings``: asked at each call, so that a change is in force at once."""
        self.servers = self._hub = Hub(settings, paths.logs)
        shelf = Shelf(settings, paths.index)
        ours = (paths.data, paths.config, paths.logs)
        workplace = Workplace(lambda: settings().sandbox, ours)
        tools: tuple[Tool, ...] = (
            Calculator(),
            Python(workplace=workplace),
            Shell(workplace),
            ListFiles(),
            ReadFile(),
            SearchFiles(),
            WriteFile(),
            EditFile(),
            WebSearch(settings, paths.index),
            OpenPage(shelf),
            NextPage(shelf),
            FindInPage(shelf),
        )
        self._tools = {tool.spec.function.name: tool for tool in tools}

    def names(self) -> tuple[str, ...]:
        return tuple(self._tools)

    def specs(self, names: Iterable[str]) -> tuple[ToolSpec, ...]:
        """Of the tools named, in the toolbox's order; unknown names are passed over."""
        wanted = set(names)
        own = (tool.spec for name, tool in self._tools.items() if name in wanted)
        return (*own, *self._hub.specs(wanted))

    def get(self, name: str) -> Tool | None:
        return self._tools.get(name) or self._hub.get(name)

    async def prepare(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """Start the servers whose tools are named; those that cannot be used, and why."""
        return await self._hub.prepare(names)

    def parse(self, name: str, arguments_text: str) -> dict[str, Any]:
        """The arguments of a call, checked against the tool's schema. Raises ToolError."""
        return checked(arguments_text, self._schema(name))

    async def forget(self, conversation: str) -> None:
        for tool in self._tools.values():
            await tool.forget(conversation)

    async def close(self) -> None:
        await self._hub.close()
        for tool in self._tools.values():
            await tool.close()

    def _schema(self, name: str) -> dict[str, Any]:
        tool = self.get(name)
        if tool is None:
            raise ToolError("arguments", f"there is no tool {name} any more")
        return tool.checked if isinstance(tool, McpTool) else tool.spec.function.parameters
