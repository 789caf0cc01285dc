"""Fetching one document over HTTP, within limits and without leaving anything behind."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

import httpx2

from app.errors import ToolError
from app.tools.documents.document import Kind, kind_of_type
from app.tools.web.body import ENCODINGS, Body, read_body

SECONDS = 30.0
MOST_BYTES = 8 << 20
"""Of HTML and text, which are cut there."""
MOST_PDF_BYTES = 32 << 20
MOST_REDIRECTS = 5
LONGEST_URL = 4_000

_HEADERS: Final = {
    "User-Agent": "Mozilla/5.0 (compatible; Selenograph)",
    "Accept": "text/html, text/markdown, text/plain, application/pdf, */*;q=0.5",
    "Accept-Encoding": ENCODINGS,
    "Accept-Language": "en, *;q=0.5",
}
_TIMEOUTS: Final = httpx2.Timeout(SECONDS, connect=10.0).as_dict()
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.I)


@dataclass(frozen=True, slots=True)
class Fetched:
    """``address``: where it came from in the end. ``cut``: it was longer than what is here."""

    address: str
    kind: Kind
    charset: str
    data: bytes
    cut: bool


async def fetch(
    transport: httpx2.AsyncBaseTransport, url: str, seconds: float = SECONDS
) -> Fetched:
    """Follow redirects, each checked, to a document that can be read as text.

    Raises ToolError ``bad_address``, ``unknown_host``, ``private_address``, ``unreachable``,
    ``refused`` (an error status), ``not_text``, ``bad_response``, ``too_large`` or ``time``.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _follow(transport, url)
    except (TimeoutError, httpx2.TimeoutException):
        raise ToolError("time", f"the page did not come within {seconds:g} s") from None
    except httpx2.HTTPError as error:
        raise ToolError("unreachable", f"the page cannot be reached: {error}") from error


async def _follow(transport: httpx2.AsyncBaseTransport, url: str) -> Fetched:
    for _ in range(MOST_REDIRECTS + 1):
        request = httpx2.Request(
            "GET", _checked(url), headers=_HEADERS, extensions={"timeout": _TIMEOUTS}
        )
        response = await transport.handle_async_request(request)
        response.request = request
        try:
            if response.status_code not in (301, 302, 303, 307, 308):
                return await _document(response, str(request.url))
            location = response.headers.get("location", "")
        finally:
            await response.aclose()
        if not location:
            raise ToolError("bad_response", "the page moved, but it does not say where to")
        url = _joined(str(request.url), location)
    raise ToolError("bad_response", f"the page moved more than {MOST_REDIRECTS} times")


def _checked(text: str) -> httpx2.URL:
    if len(text) > LONGEST_URL:
        raise ToolError("bad_address", "the address is too long")
    try:
        url = httpx2.URL(text)
        host, port = url.host, url.port
    except (httpx2.InvalidURL, ValueError, UnicodeError):
        raise ToolError("bad_address", f"{text[:200]} is no address") from None
    if url.scheme not in ("http", "https"):
        raise ToolError("bad_address", "only http and https addresses can be opened")
    if url.userinfo:
        raise ToolError("bad_address", "addresses with a user's name are not opened")
    if not host or port == 0:
        raise ToolError("bad_address", f"{text[:200]} names no host")
    return url


def _joined(base: str, location: str) -> str:
    try:
        return urljoin(base, location)
    except ValueError:
        raise ToolError("bad_response", "the page moved to something that is no address") from None


async def _document(response: httpx2.Response, address: str) -> Fetched:
    if response.status_code != 200:
        raise ToolError("refused", f"the server answered with the error {response.status_code}")
    content_type = response.headers.get("content-type", "")
    kind = kind_of_type(content_type) if content_type else "text"
    if kind is None:
        media = content_type.partition(";")[0].strip()[:100]
        raise ToolError("not_text", f"{media} cannot be read as text")
    body = await read_body(response, MOST_PDF_BYTES if kind == "pdf" else MOST_BYTES)
    kind = kind if content_type else _sniffed(body)
    if kind == "pdf" and body.cut:
        raise ToolError("too_large", f"the PDF is larger than {MOST_PDF_BYTES >> 20} MiB")
    charset = _CHARSET.search(content_type)
    return Fetched(address, kind, charset[1] if charset else "", body.data, body.cut)


def _sniffed(body: Body) -> Kind:
    head = body.data[:1024].lstrip().lower()
    if head.startswith(b"%pdf-"):
        return "pdf"
    return "html" if head.startswith((b"<!doctype", b"<html", b"<head", b"<body")) else "text"
