"""Which MCP servers there are: from the settings, and from a file in the common form.

That form is ``{"mcpServers": {NAME: {"command": …, "args": […], "env": {…}}}}`` for a program that
speaks over its standard input and output, or ``{"url": …, "headers": {…}}`` for one over HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from app.errors import ConfigError

LARGEST_FILE = 1 << 20
SECONDS = 120.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


class McpServer(msgspec.Struct, frozen=True, kw_only=True):
    """One server: either ``command`` or ``url``."""

    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    """Beside a few harmless variables (PATH, HOME, LANG) it gets these and no others of ours."""
    cwd: str = ""
    url: str = ""
    headers: dict[str, str] = {}
    disabled: bool = False
    seconds: float = SECONDS
    """How long one call may take."""


class _File(msgspec.Struct, frozen=True):
    servers: dict[str, McpServer] = msgspec.field(default={}, name="mcpServers")


@dataclass(frozen=True, slots=True)
class ServerView:
    """What a person sees of a server. ``state``: "off", "idle" (not started), "ready", "failed"."""

    name: str
    server: McpServer
    own: bool
    """In the settings, and not in the file that they name."""
    state: str = "idle"
    error: str = ""
    tools: tuple[tuple[str, str], ...] = ()
    """(name, description)."""


def parse_servers(text: str) -> dict[str, McpServer]:
    """Of pasted JSON: the common form, or what stands under its ``mcpServers``. Raises ConfigError
    ``mcp_file`` or ``mcp_server``.
    """
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
        inner = found.get("mcpServers", found)
        servers = msgspec.convert(inner, type=dict[str, McpServer])
    except (msgspec.DecodeError, ValueError) as error:
        raise ConfigError("mcp_file", f"this is no list of MCP servers: {error}") from error
    if not servers:
        raise ConfigError("mcp_file", "this list of MCP servers is empty")
    for name, server in servers.items():
        check_server(name, server)
    return servers


def all_servers(own: Mapping[str, McpServer], file: str) -> tuple[list[ServerView], str]:
    """Every server, off or on, with what is wrong with it; and what is wrong with the file."""
    theirs: Mapping[str, McpServer] = {}
    trouble = ""
    try:
        theirs = _read(Path(file).expanduser()) if file else {}
    except ConfigError as error:
        trouble = error.message
    views = []
    for name, server in {**theirs, **own}.items():
        state, wrong = "off" if server.disabled else "idle", ""
        try:
            check_server(name, server)
        except ConfigError as error:
            state, wrong = "failed", error.message
        views.append(ServerView(name, server, name in own, state, wrong))
    return views, trouble


def load_servers(own: Mapping[str, McpServer], file: str) -> dict[str, McpServer]:
    """The enabled servers by their names; the settings' own hide those of the file.

    Raises ConfigError ``mcp_file`` or ``mcp_server``.
    """
    found = {**(_read(Path(file).expanduser()) if file else {}), **own}
    for name, server in found.items():
        check_server(name, server)
    return {name: server for name, server in found.items() if not server.disabled}


def server_names(own: Mapping[str, McpServer], file: str) -> tuple[str, ...]:
    """Of the enabled servers, for a choice; what is wrong with them a run will say."""
    try:
        return tuple(load_servers(own, file))
    except ConfigError:
        return tuple(name for name, server in own.items() if not server.disabled)


def _read(path: Path) -> dict[str, McpServer]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ConfigError("mcp_file", f"{path} is too large for a list of servers")
        return msgspec.json.decode(path.read_bytes(), type=_File).servers
    except OSError as error:
        raise ConfigError("mcp_file", f"cannot read {path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            "mcp_file", f"{path} is no list of MCP servers: {error}", "see docs/tools.md"
        ) from error


def check_server(name: str, server: McpServer) -> None:
    """Raises ConfigError ``mcp_server``."""
    if not _NAME.fullmatch(name) or "__" in name:
        raise ConfigError(
            "mcp_server",
            f"{name[:60]!r} is no name for an MCP server",
            "at most 32 letters, digits, - and single _",
        )
    if bool(server.command) == bool(server.url):
        raise ConfigError("mcp_server", f"the MCP server {name} needs either a command or a url")
    if server.url and not server.url.startswith(("http://", "https://")):
        raise ConfigError("mcp_server", f"the MCP server {name} has no http address")
    if not 0 < server.seconds <= 24 * 3600:
        raise ConfigError("mcp_server", f"the MCP server {name} has no sensible time limit")
