"""All MCP servers of the settings, and their tools as tools of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import ConfigError, ToolError
from app.mcp.config import McpServer, ServerView, all_servers, load_servers
from app.settings import Settings
from app.tools.base import Outside, Risk, ToolContext
from app.tools.names import SEPARATOR, covers
from engine.protocol import ToolSpec

if TYPE_CHECKING:
    from app.mcp.connection import Connection
    from app.mcp.schema import Offered


class McpTool:
    """One tool of one server. It asks before every call unless it was allowed, by its own name."""

    read_only = False
    asks = True
    risk: Risk = "foreign"
    outside: Outside = "raw"

    def __init__(self, connection: Connection, offer: Offered) -> None:
        self._connection = connection
        self._offer = offer

    @property
    def spec(self) -> ToolSpec:
        return self._offer.spec

    @property
    def checked(self) -> dict[str, Any]:
        """The schema that arguments are checked against."""
        return self._offer.checked

    def question(self, arguments: dict[str, Any], context: ToolContext) -> str | None:
        return f"the server {self._connection.name} is to run {self._offer.theirs[:100]}"

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        return await self._connection.call(self._offer, arguments, output, context.ask)

    async def forget(self, conversation: str) -> None:
        """Servers know nothing of conversations."""

    async def close(self) -> None:
        """The hub ends the servers."""


class Hub:
    """On the core's loop. Servers are started when a run first names their tools."""

    def __init__(self, settings: Callable[[], Settings], logs: Path) -> None:
        self._settings = settings
        self._logs = logs
        self._connections: dict[str, Connection] = {}
        self._errors: dict[str, str] = {}

    async def prepare(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """Start what a run's tools need; the servers that cannot be used, and why."""
        wanted = list(dict.fromkeys(n.partition(SEPARATOR)[0] for n in names if SEPARATOR in n))
        if not wanted:
            return []
        try:
            servers = load_servers(self._settings().mcp_servers, self._settings().mcp_file)
        except ConfigError as error:
            return [(name, error.message) for name in wanted]
        missing = [(n, "the settings name no such server") for n in wanted if n not in servers]
        known = [name for name in wanted if name in servers]
        await self._renew({name: servers[name] for name in known})
        problems = await asyncio.gather(*(self._connect(name) for name in known))
        return [*missing, *(p for p in problems if p is not None)]

    def specs(self, names: Iterable[str]) -> tuple[ToolSpec, ...]:
        """Of the tools that the names cover; ``server__*`` covers all of a server."""
        entries = [name for name in names if SEPARATOR in name]
        return tuple(
            offer.spec
            for connection in self._connections.values()
            for name, offer in connection.offers.items()
            if any(covers(entry, name) for entry in entries)
        )

    def get(self, name: str) -> McpTool | None:
        connection = self._connections.get(name.partition(SEPARATOR)[0])
        offer = connection.offers.get(name) if connection else None
        return McpTool(connection, offer) if connection and offer else None

    def views(self) -> tuple[tuple[ServerView, ...], str]:
        """Every server of the settings, and what is wrong with the file that they name."""
        settings = self._settings()
        found, trouble = all_servers(settings.mcp_servers, settings.mcp_file)
        return tuple(self._as_known(view) for view in found), trouble

    async def start(self, name: str) -> None:
        """Begin a server anew, so that it can be looked at. Raises nothing: its view says why."""
        old = self._connections.pop(name, None)
        if old is not None:
            await old.close()
        await self.prepare([f"{name}{SEPARATOR}*"])

    def _as_known(self, view: ServerView) -> ServerView:
        made = self._connections.get(view.name)
        if made is None or made.server != view.server or view.state != "idle":
            return view
        error = self._errors.get(view.name, "")
        state = "ready" if made.connected else "failed" if error else "idle"
        tools = tuple(
            (offer.theirs, offer.spec.function.description) for offer in made.offers.values()
        )
        return replace(view, state=state, error=error if state == "failed" else "", tools=tools)

    async def close(self) -> None:
        """End every session and process."""
        connections = list(self._connections.values())
        self._connections.clear()
        await asyncio.gather(*(one.close() for one in connections))

    async def _renew(self, servers: dict[str, McpServer]) -> None:
        """A server whose settings were changed is another server."""
        from app.mcp.connection import Connection  # slow to import, and most runs need none

        for name, server in servers.items():
            old = self._connections.get(name)
            if old is not None and old.server != server:
                del self._connections[name]
                await old.close()
            if name not in self._connections:
                self._connections[name] = Connection(name, server, self._logs)

    async def _connect(self, name: str) -> tuple[str, str] | None:
        try:
            await self._connections[name].connect()
        except ToolError as error:
            self._errors[name] = error.message
            return name, error.message
        self._errors.pop(name, None)
        return None
