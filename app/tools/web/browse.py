"""The reading tools: ``open_page``, ``next_page`` and ``find_in_page``."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.errors import StoreError, ToolError
from app.settings import Settings
from app.tools.base import Outside, Risk, Target, ToolContext
from app.tools.documents.document import LOCAL, kind_of_name
from app.tools.documents.reader import Reader
from app.tools.files import inside
from app.tools.index.build import read_file
from app.tools.index.store import IndexStore
from app.tools.web.fetch import LONGEST_URL, fetch
from app.tools.web.guard import Guard, GuardedTransport, Resolve, resolve
from app.tools.web.pages import OpenDocument
from app.trust.targets import host_of
from engine.protocol import FunctionSpec, ToolSpec

MOST_OPEN = 64
"""Documents kept, one a conversation; the one used longest ago goes first."""

_NUMBER = re.compile(r"[【\[]?(\d{1,6})[】\]]?")


class Shelf:
    """What each conversation has open, and how a document gets there."""

    def __init__(
        self, settings: Callable[[], Settings], index: Path, resolve: Resolve = resolve
    ) -> None:
        self._settings = settings
        self._index = index
        self._resolve = resolve
        self._reader = Reader()
        self._open: dict[str, OpenDocument] = {}

    def current(self, conversation: str) -> OpenDocument:
        """Raises ToolError ``no_page``."""
        found = self._open.get(conversation)
        if found is None:
            raise ToolError("no_page", "no page is open; open_page opens one")
        return found

    def address(self, conversation: str, url: str) -> str:
        """Of what the model named: itself, or where the link with that number leads."""
        number = _NUMBER.fullmatch(url.strip())
        return self.current(conversation).link(int(number[1])) if number else url.strip()

    async def open(self, conversation: str, address: str) -> OpenDocument:
        """Fetch and read. Raises ToolError."""
        made = await (self._local if address.startswith(LOCAL) else self._remote)(address)
        self._open.pop(conversation, None)
        while len(self._open) >= MOST_OPEN:
            del self._open[next(iter(self._open))]
        self._open[conversation] = made
        return made

    async def _remote(self, address: str) -> OpenDocument:
        transport = GuardedTransport(Guard(self._settings().allow_private, self._resolve))
        try:
            found = await fetch(transport, address)
        finally:
            await transport.aclose()
        document = await self._reader.read_async(
            found.data, found.kind, found.address, found.charset
        )
        return OpenDocument.of(document, found.address, found.cut)

    async def _local(self, address: str) -> OpenDocument:
        name, _, path = address.removeprefix(LOCAL).partition("/")
        folder = next((c.folder for c in self._settings().collections if c.name == name), None)
        kind = kind_of_name(path)
        if folder is None or kind is None or not await asyncio.to_thread(self._knows, name, path):
            raise ToolError("no_page", f"no document of the index is called {address[:300]}")
        data = await asyncio.to_thread(lambda: read_file(str(inside(Path(folder), path))))
        return OpenDocument.of(await self._reader.read_async(data, kind, address), address)

    def _knows(self, collection: str, path: str) -> bool:
        if not self._index.exists():
            return False
        try:
            with IndexStore.open(self._index) as store:
                return store.stored(collection, path) is not None
        except StoreError as error:
            raise ToolError("index", f"the index cannot be read: {error.message}") from error

    def forget(self, conversation: str) -> None:
        self._open.pop(conversation, None)

    def close(self) -> None:
        self._reader.close()
        self._open.clear()


class _Reading:
    """What the three have in common."""

    read_only = False
    """They change which page is open, so calls run one after another."""
    asks = False
    risk: Risk = "network"
    outside: Outside = "marked"

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def targets(self, arguments: dict[str, Any], context: ToolContext) -> tuple[Target, ...]:
        """The open document is where it is."""
        return ()

    async def forget(self, conversation: str) -> None:
        self._shelf.forget(conversation)

    async def close(self) -> None:
        self._shelf.close()


class OpenPage(_Reading):
    """``open_page(url)``: the first page of a document of the web or of the index."""

    asks = True
    spec = ToolSpec(
        FunctionSpec(
            "open_page",
            "Open a web page or PDF, or a document that web_search found, and read its text page "
            "by page. Links are numbered 【n】.",
            {
                "type": "object",
                "properties": {
                    "url": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": LONGEST_URL,
                        "description": "an address, or a link's number on the open page",
                    }
                },
                "required": ["url"],
                "additionalProperties": False,
            },
        )
    )

    def question(self, arguments: dict[str, Any], context: ToolContext) -> str | None:
        """The user's own documents need no approval, nor does what cannot be opened anyway."""
        try:
            address = self._shelf.address(context.conversation, arguments["url"])
        except ToolError:
            return None
        return None if address.startswith(LOCAL) else f"open_page wants to fetch {address}"

    def targets(self, arguments: dict[str, Any], context: ToolContext) -> tuple[Target, ...]:
        """The host, also where a link's number stands for it."""
        try:
            address = self._shelf.address(context.conversation, arguments["url"])
        except ToolError:
            return ()
        host = "" if address.startswith(LOCAL) else host_of(address)
        return (Target("host", host),) if host else ()

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        address = self._shelf.address(context.conversation, arguments["url"])
        return (await self._shelf.open(context.conversation, address)).show(1)


class NextPage(_Reading):
    """``next_page(page=the next)``: another page of the document that is open."""

    spec = ToolSpec(
        FunctionSpec(
            "next_page",
            "Read the next page of the open document, or the page with that number.",
            {
                "type": "object",
                "properties": {"page": {"type": "integer", "minimum": 1}},
                "additionalProperties": False,
            },
        )
    )

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        current = self._shelf.current(context.conversation)
        return current.show(arguments["page"]) if "page" in arguments else current.next()


class FindInPage(_Reading):
    """``find_in_page(text)``: where a text occurs in the document that is open."""

    spec = ToolSpec(
        FunctionSpec(
            "find_in_page",
            "Find where a text occurs on all pages of the open document.",
            {
                "type": "object",
                "properties": {"text": {"type": "string", "minLength": 1, "maxLength": 400}},
                "required": ["text"],
                "additionalProperties": False,
            },
        )
    )

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        return self._shelf.current(context.conversation).find(arguments["text"])
