"""An HTTP endpoint of OpenAI's form that goes away and comes back, as a test says."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def chunk(reason: str | None = None, **delta: Any) -> bytes:
    """One server-sent event."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def calls(name: str, arguments: str, thought: str = "let me look") -> bytes:
    """A whole reply that calls a tool."""
    call = {"index": 0, "id": "", "function": {"name": name, "arguments": arguments}}
    return chunk(reasoning_content=thought) + chunk("tool_calls", tool_calls=[call])


def says(text: str) -> bytes:
    """A whole reply that answers."""
    return chunk(reasoning_content="so it is") + chunk("stop", content=text) + b"data: [DONE]\n\n"


HALF = chunk(reasoning_content="half a th")
"""A reply that breaks off."""


class Wavering:
    """Answers requests with ``replies`` in order, the last one again and again; after ``HALF`` it
    is gone. An int is a status with an error. Keeps the requests that it read. Any thread.
    """

    def __init__(self, replies: Sequence[bytes | int]) -> None:
        self.replies = list(replies)
        self.asked: list[dict[str, Any]] = []
        self.models: bytes | int = b'{"object": "list", "data": [{"id": "m"}]}'
        """What it answers when it is asked for them."""
        self.heads: list[dict[str, str]] = []
        self.probes = 0
        self.port = 0
        self._server: _Server | None = None
        self.come()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def come(self) -> None:
        """Listen, always at the same port."""
        if self._server is None:
            self._server = _Server(("127.0.0.1", self.port), self)
            self.port = self._server.server_address[1]
            serve = self._server.serve_forever
            threading.Thread(target=serve, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def go(self) -> None:
        """Hang up and refuse connections."""
        server, self._server = self._server, None
        if server is not None:
            server.server_close()
            server.shutdown()

    def next_reply(self) -> bytes | int:
        """Takes it from the list."""
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def left(self) -> None:
        """It went away in mid-reply."""
        self.go()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], owner: Wavering) -> None:
        self.owner = owner
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        owner = self.server.owner
        owner.probes += 1
        owner.heads.append(dict(self.headers))
        if isinstance(owner.models, int):
            self._refuse(owner.models)
        else:
            self._head(200, "application/json")
            self.wfile.write(owner.models)

    def do_POST(self) -> None:
        owner = self.server.owner
        length = int(self.headers["Content-Length"])
        owner.asked.append(json.loads(self.rfile.read(length)))
        reply = owner.next_reply()
        if isinstance(reply, int):
            self._refuse(reply)
            return
        self._head(200, "text/event-stream")
        self.wfile.write(reply)
        if reply == HALF:
            self.wfile.flush()
            owner.left()
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def _refuse(self, status: int) -> None:
        """In words that repeat the key."""
        self._head(status, "application/json")
        message = f"it says no to {self.headers.get('Authorization', 'nobody')}"
        self.wfile.write(json.dumps({"error": {"message": message}}).encode())

    def _head(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""
