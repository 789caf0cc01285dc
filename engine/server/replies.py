"""Bodies in and out: bounded JSON in, structs and errors out."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from engine.errors import QueueFull, RequestError, SelenographError
from engine.protocol import ErrorBody, ErrorReply

MAX_BODY = 64 << 20
T = TypeVar("T")


class TooLarge(RequestError):
    """The body exceeds what any prompt can be."""

    http_status = 413


class NotFound(RequestError):
    """There is no such thing here."""

    http_status = 404


async def read_body(request: HttpRequest, kind: type[T]) -> T:
    """The body as a struct. Raises RequestError ``malformed_json``, ``bad_request``."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise TooLarge("body_too_large", f"the request exceeds {MAX_BODY >> 20} MiB")
    try:
        return msgspec.json.decode(bytes(data), type=kind)
    except msgspec.ValidationError as error:
        raise RequestError("bad_request", f"the request is not as expected: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError("malformed_json", f"the request is not valid JSON: {error}") from error


def json_reply(value: object, status: int = 200) -> Response:
    """A struct as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def error_body(error: SelenographError) -> ErrorBody:
    """What goes over the wire of an error."""
    return ErrorBody(error.message, error.kind, error.code, error.hint, error.retryable)


def error_reply(error: SelenographError) -> Response:
    """An error as an HTTP reply."""
    reply = json_reply(ErrorReply(error_body(error)), error.http_status)
    if isinstance(error, QueueFull):
        reply.headers["retry-after"] = str(error.retry_after)
    return reply
