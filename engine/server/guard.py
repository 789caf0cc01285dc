"""Who may talk to the engine: only holders of the token, only by the loopback name.

The Host check stops DNS rebinding (a web page whose name suddenly points at 127.0.0.1); the
Origin check stops pages from posting at all; the token stops other users of the machine.
"""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.errors import RequestError
from engine.server.replies import error_reply

_NAMES = ("127.0.0.1", "localhost", "[::1]")


class Forbidden(RequestError):
    """The caller did not show that it may."""

    http_status = 403


class Unauthorised(RequestError):
    """The token is missing or wrong."""

    http_status = 401


class Guard:
    """ASGI middleware around every route."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()
        self._hosts = {f"{name}:{port}" for name in _NAMES}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(Headers(scope=scope))
        except RequestError as error:
            await error_reply(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, headers: Headers) -> None:
        if headers.get("host", "").lower() not in self._hosts:
            raise Forbidden("wrong_host", "this server answers only to its loopback address")
        origin = headers.get("origin")
        if origin is not None and origin.removeprefix("http://").lower() not in self._hosts:
            raise Forbidden("wrong_origin", "requests from web pages are refused")
        given = headers.get("authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._expected):
            raise Unauthorised(
                "wrong_token",
                "the token is missing or wrong",
                "send `Authorization: Bearer TOKEN` with the token that was printed at start",
            )
