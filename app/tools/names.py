"""The built-in tools' names, for whoever must know them without making the tools."""

from __future__ import annotations

NAMES = (
    "calculator",
    "python",
    "shell",
    "list_files",
    "read_file",
    "search_files",
    "write_file",
    "edit_file",
    "web_search",
    "open_page",
    "next_page",
    "find_in_page",
)
"""In the order in which a model is told of them."""

SEPARATOR = "__"
"""Between an MCP server's name and its tool's."""


def covers(entry: str, name: str) -> bool:
    """Whether an entry of a run's tools stands for a tool: its name, or ``server__*``."""
    if entry.endswith(f"{SEPARATOR}*"):
        return name.startswith(entry[:-1]) and len(entry) > len(SEPARATOR) + 1
    return entry == name
