"""The toolbox: every tool there is, and the check of what a model passes to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import jsonschema

from app.errors import ToolError
from app.paths import Paths
from app.settings import Settings
from app.tools.base import Tool
from app.tools.calculator import Calculator
from app.tools.files import ListFiles, ReadFile, SearchFiles
from app.tools.python import Python
from app.tools.web.browse import FindInPage, NextPage, OpenPage, Shelf
from app.tools.web.search import WebSearch
from engine.protocol import ToolSpec

LONGEST_ARGUMENTS = 1_000_000


class Toolbox:
    """The tools in the order in which a model is told of them. On the core's loop."""

    def __init__(self, settings: Callable[[], Settings], paths: Paths) -> None:
        """``settings``: asked at each call, so that a change is in force at once."""
        shelf = Shelf(settings, paths.index)
        tools: tuple[Tool, ...] = (
            Calculator(),
            Python(),
            ListFiles(),
            ReadFile(),
            SearchFiles(),
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
        return tuple(tool.spec for name, tool in self._tools.items() if name in wanted)

    def get(self, name: str) -> Tool | None:
        return self._tools.get(name)

    def parse(self, name: str, arguments_text: str) -> dict[str, Any]:
        """The arguments of a call, checked against the tool's schema. Raises ToolError."""
        if len(arguments_text) > LONGEST_ARGUMENTS:
            raise ToolError("arguments", "the arguments are too long")
        try:
            arguments = json.loads(arguments_text or "{}")
        except (ValueError, RecursionError):
            raise ToolError("arguments", "the arguments are not JSON") from None
        try:
            jsonschema.validate(arguments, self._tools[name].spec.function.parameters)
        except jsonschema.ValidationError as error:
            where = f"{error.json_path[2:]}: " if error.path else ""
            raise ToolError("arguments", f"wrong arguments: {where}{error.message[:300]}") from None
        assert isinstance(arguments, dict)
        return arguments

    async def forget(self, conversation: str) -> None:
        for tool in self._tools.values():
            await tool.forget(conversation)

    async def close(self) -> None:
        for tool in self._tools.values():
            await tool.close()
