"""A web server of a few lines: what it answers is up to each test."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Response:
    """``raw``: these bytes instead of a proper response. ``pause``: seconds before each part."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    parts: tuple[bytes, ...] = ()
    pause: float = 0.0


@dataclass
class Server:
    url: str
    port: int
    requests: list[Request]


@asynccontextmanager
async def serving(
    answer: Callable[[Request], Response], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """On a free port of 127.0.0.1."""
    requests: list[Request] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            pairs = [line.partition(": ") for line in head[1:] if line]
            headers = {name.lower(): value for name, _, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            requests.append(Request(method, target, headers, body))
            await _write(writer, answer(requests[-1]))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    scheme = "https" if tls else "http"
    try:
        yield Server(f"{scheme}://127.0.0.1:{port}", port, requests)
    finally:
        server.close()
        await server.wait_closed()


async def _write(writer: asyncio.StreamWriter, response: Response) -> None:
    if response.raw is not None:
        writer.write(response.raw)
        await writer.drain()
        return
    headers = {"Connection": "close", **response.headers}
    if not response.parts:
        headers["Content-Length"] = str(len(response.body))
    head = f"HTTP/1.1 {response.status} x\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(head.encode("latin-1") + b"\r\n")
    for part in response.parts or (response.body,):
        if response.pause:
            await asyncio.sleep(response.pause)
        writer.write(part)
        await writer.drain()
