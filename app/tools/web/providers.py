"""Where ``web_search`` asks: the offline index, SearXNG, Brave, Tavily or Kagi."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx2
import msgspec

from app.errors import StoreError, ToolError
from app.settings import SearchSettings, Settings
from app.tools.index.store import IndexStore
from app.tools.web.body import ENCODINGS, read_body

SECONDS = 20.0
MOST_BYTES = 4 << 20
_TAG = re.compile(r"<[^>]{0,200}>")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Hit:
    """``address``: a URL, or ``local:…`` for a document of the index."""

    title: str
    address: str
    snippet: str
    place: str = ""
    """Where in the document, if that is known."""


class Provider(Protocol):
    """A search service."""

    async def search(self, query: str, count: int) -> list[Hit]:
        """At most ``count`` hits, the best first. Raises ToolError ``search``."""


class IndexProvider:
    """The offline index over the settings' collections."""

    def __init__(self, index: Path, collections: tuple[str, ...]) -> None:
        self._index = index
        self._collections = collections

    async def search(self, query: str, count: int) -> list[Hit]:
        if not self._collections or not self._index.exists():
            raise ToolError(
                "search",
                "no documents are indexed here; the user can add a folder with "
                "`selenograph index FOLDER` or choose a search service in the settings",
            )
        return await asyncio.to_thread(self._search, query, count)

    def _search(self, query: str, count: int) -> list[Hit]:
        try:
            with IndexStore.open(self._index) as store:
                found = store.search(query, self._collections, count)
        except StoreError as error:
            raise ToolError("search", f"the index cannot be read: {error.message}") from error
        return [Hit(one.title, one.address, one.snippet, one.heading) for one in found]


# What the services answer, leniently: anything may be null, missing or more.


class _Result(msgspec.Struct, frozen=True):
    url: str | None = None
    title: str | None = None
    content: str | None = None
    """SearXNG and Tavily."""
    description: str | None = None
    """Brave."""
    snippet: str | None = None
    """Kagi."""
    t: int = 0
    """Kagi: 0 is a result, others are related searches."""


class _Results(msgspec.Struct, frozen=True):
    results: tuple[_Result, ...] | None = None


class _Answer(msgspec.Struct, frozen=True):
    results: tuple[_Result, ...] | None = None
    """SearXNG and Tavily."""
    web: _Results | None = None
    """Brave."""
    data: tuple[_Result, ...] | None = None
    """Kagi."""

    def all(self) -> tuple[_Result, ...]:
        web = self.web.results if self.web else None
        return self.results or web or self.data or ()


_answers: msgspec.json.Decoder[_Answer] = msgspec.json.Decoder(_Answer)

Request = Callable[[SearchSettings, str, int], dict[str, Any]]
"""The arguments of an httpx2 request."""


def _searxng(settings: SearchSettings, query: str, count: int) -> dict[str, Any]:
    url = settings.url.rstrip("/") + "/search"
    return {"method": "GET", "url": url, "params": {"q": query, "format": "json"}}


def _brave(settings: SearchSettings, query: str, count: int) -> dict[str, Any]:
    return {
        "method": "GET",
        "url": settings.url or "https://api.search.brave.com/res/v1/web/search",
        "params": {"q": query, "count": str(min(count, 20))},
        "headers": {"X-Subscription-Token": settings.key},
    }


def _tavily(settings: SearchSettings, query: str, count: int) -> dict[str, Any]:
    return {
        "method": "POST",
        "url": settings.url or "https://api.tavily.com/search",
        "json": {"query": query, "max_results": min(count, 20)},
        "headers": {"Authorization": f"Bearer {settings.key}"},
    }


def _kagi(settings: SearchSettings, query: str, count: int) -> dict[str, Any]:
    return {
        "method": "GET",
        "url": settings.url or "https://kagi.com/api/v0/search",
        "params": {"q": query, "limit": str(count)},
        "headers": {"Authorization": f"Bot {settings.key}"},
    }


_REQUESTS: dict[str, Request] = {
    "searxng": _searxng,
    "brave": _brave,
    "tavily": _tavily,
    "kagi": _kagi,
}
_NAMES = {"searxng": "SearXNG", "brave": "Brave", "tavily": "Tavily", "kagi": "Kagi"}


class ServiceProvider:
    """A search service over HTTP, at the address and with the key of the settings."""

    def __init__(self, settings: SearchSettings, seconds: float = SECONDS) -> None:
        self._settings = settings
        self._seconds = seconds
        self._name = _NAMES[settings.provider]

    async def search(self, query: str, count: int) -> list[Hit]:
        self._check()
        request = _REQUESTS[self._settings.provider](self._settings, query, count)
        request["headers"] = {
            **request.get("headers", {}),
            "Accept": "application/json",
            "Accept-Encoding": ENCODINGS,
        }
        try:
            async with (
                asyncio.timeout(self._seconds),
                httpx2.AsyncClient(timeout=self._seconds) as client,
                client.stream(**request) as response,
            ):
                body = await read_body(response, MOST_BYTES)
        except TimeoutError:
            raise self._fault(f"did not answer within {self._seconds:g} s") from None
        except httpx2.TimeoutException:
            raise self._fault(f"did not answer within {self._seconds:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._fault(f"cannot be reached: {error}") from error
        except (UnicodeError, ValueError) as error:  # a key that no header can carry
            raise self._fault(f"cannot be asked: {error}") from error
        self._check_status(response.status_code)
        try:
            found = _answers.decode(body.data).all()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._fault("answered in a form of its own") from error
        hits = (_hit(one) for one in found if one.t == 0 and one.url)
        return [hit for hit in hits if hit.address.startswith(("http://", "https://"))][:count]

    def _check(self) -> None:
        if self._settings.provider == "searxng":
            if not self._settings.url:
                raise self._fault("has no address in the settings")
        elif not self._settings.key:
            raise self._fault("has no key in the settings")

    def _check_status(self, status: int) -> None:
        if status in (401, 403):
            hint = (
                "does not offer its results as JSON (its settings.yml must list json)"
                if self._settings.provider == "searxng"
                else "refused the key of the settings"
            )
            raise self._fault(hint)
        if status in (402, 429):
            raise self._fault("refuses more requests for now")
        if status != 200:
            raise self._fault(f"answered with the error {status}")

    def _fault(self, message: str) -> ToolError:
        return ToolError("search", f"{self._name} {message}")


def _hit(result: _Result) -> Hit:
    text = result.content or result.description or result.snippet or ""
    return Hit(_plain(result.title or ""), (result.url or "").strip(), _plain(text))


def _plain(text: str) -> str:
    """Some services send their snippets as HTML."""
    return _SPACES.sub(" ", html.unescape(_TAG.sub("", text[:4000]))).strip()


def provider(settings: Settings, index: Path) -> Provider:
    """The one that the settings name."""
    if settings.search.provider == "index":
        return IndexProvider(index, tuple(one.name for one in settings.collections))
    return ServiceProvider(settings.search)
