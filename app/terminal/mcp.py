"""``selenograph mcp``: the agent as an MCP server on standard input and output."""

from __future__ import annotations

import argparse
import asyncio

import msgspec

from app.cli import ANSWERED
from app.core import Core
from app.errors import RequestError
from app.mcp.server import Scope, make_server
from app.paths import Paths
from app.terminal.run import at_work, scope_of, tool_names


def mcp(arguments: argparse.Namespace) -> int:
    """Until standard input ends (0), SIGINT or SIGTERM (130). Raises SelenographError."""
    folder = arguments.cwd
    if folder is not None and not folder.is_dir():
        raise RequestError("no_folder", f"there is no folder {folder}")
    core = Core(Paths.under(arguments.data) if arguments.data else Paths.default())
    settings = core.settings.run
    if arguments.endpoint is not None:
        settings = msgspec.structs.replace(settings, backend=arguments.endpoint)
    if arguments.tools is not None:
        settings = msgspec.structs.replace(settings, tools=tool_names(arguments.tools))
    scope = Scope(
        settings,
        str(folder.resolve()) if folder is not None else "",
        scope_of(arguments),
    )
    with at_work(core):
        asyncio.run(make_server(core, scope).run_stdio_async())
    return ANSWERED
