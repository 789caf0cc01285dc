"""Which MCP servers there are: from the settings, and from a file in the common form.

That form is ``{"mcpServers": {NAME: {"command": …, "args": […], "env": {…}}}}`` for a program that
speaks over its standard input and output, or ``{"url": …, "headers": {…}}`` for one over HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

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


def load_servers(own: Mapping[str, McpServer], file: str) -> dict[str, McpServer]:
    """The enabled servers by their names; the settings' own hide those of the file.

    Raises ConfigError ``mcp_file`` or ``mcp_server``.
    """
    found = {**(_read(Path(file).expanduser()) if file else {}), **own}
    for name, server in found.items():
        _check(name, server)
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


def _check(name: str, server: McpServer) -> None:
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
