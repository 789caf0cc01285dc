"""The search tool: the offline index unless the settings name a service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.settings import Settings
from app.tools.base import Outside, Risk, Target, ToolContext
from app.tools.web.providers import Hit, provider
from app.tools.web.untrusted import one_line, untrusted
from engine.protocol import FunctionSpec, ToolSpec

DEFAULT_COUNT, MOST = 6, 20
LONGEST_QUERY = 400
_TITLE, _SNIPPET, _ADDRESS = 150, 500, 500


class WebSearch:
    """``web_search(query, count=6)``: titles, addresses and snippets."""

    read_only = True
    asks = False
    risk: Risk = "network"
    outside: Outside = "marked"
    spec = ToolSpec(
        FunctionSpec(
            "web_search",
            "Search the web, or the user's own collection of documents where that is set up. "
            "Returns titles, addresses and snippets; open_page reads what one leads to.",
            {
                "type": "object",
                "properties": {
                    "query": {"type": "string", "minLength": 1, "maxLength": LONGEST_QUERY},
                    "count": {"type": "integer", "minimum": 1, "maximum": MOST},
                },
                "required": ["query"],
                "additionalProperties": False,
            },
        )
    )

    def __init__(self, settings: Callable[[], Settings], index: Path) -> None:
        self._settings = settings
        self._index = index

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        count = arguments.get("count", DEFAULT_COUNT)
        hits = await provider(self._settings(), self._index).search(arguments["query"], count)
        if not hits:
            return "no results; try other words"
        return untrusted("\n\n".join(_shown(number, hit) for number, hit in enumerate(hits, 1)))

    def targets(self, arguments: dict[str, Any], context: ToolContext) -> tuple[Target, ...]:
        """Words go to the service of the settings, whatever they are."""
        return ()

    async def forget(self, conversation: str) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is kept."""


def _shown(number: int, hit: Hit) -> str:
    title = one_line(hit.title, _TITLE) or "(no title)"
    place = one_line(hit.place, _TITLE)
    head = f"{title} › {place}" if place and place != title else title
    lines = [f"{number}. {head}", one_line(hit.address, _ADDRESS), one_line(hit.snippet, _SNIPPET)]
    return "\n".join(line for line in lines if line)
