"""The built-in tools' names, for whoever must know them without making the tools."""

from __future__ import annotations

NAMES = (
    "calculator",
    "python",
    "list_files",
    "read_file",
    "search_files",
    "web_search",
    "open_page",
    "next_page",
    "find_in_page",
)
"""In the order in which a model is told of them."""
