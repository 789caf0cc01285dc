"""An HTTP server that sends exactly the bytes a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Keeps the requests it read; ``gone`` is set when a client left."""

    def __init__(self) -> None:
        self.port = 0
        self.heads: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.gone = asyncio.Event()


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Server]:
    seen = Server()
    at_work: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        at_work.add(task)
        try:
            await take(reader, writer)
        finally:
            writer.transport.abort()
            at_work.discard(task)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1])
            for line in head.splitlines()
            if line.lower().startswith("content-length")
        )
        seen.heads.append(head)
        seen.bodies.append(json.loads(await reader.readexactly(length)))
        try:
            await answer(writer)
            writer.close()
            await reader.read(1)
        except ConnectionError:
            pass
        seen.gone.set()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()
        for task in at_work:
            task.cancel()
        if at_work:
            await asyncio.wait(at_work)


def sse(*data: object, done: bool = True) -> bytes:
    lines = [d if isinstance(d, str) else json.dumps(d) for d in data]
    if done:
        lines.append("[DONE]")
    return b"".join(f"data: {line}\r\n\r\n".encode() for line in lines)


def reply(body: bytes, status: str = "200 OK", step: int = 0) -> Answer:
    """``step``: bytes a write, to cut the stream everywhere."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        for i in range(0, len(body), step or len(body) or 1):
            writer.write(body[i : i + (step or len(body))])
            await writer.drain()
            await asyncio.sleep(0)

    return answer
