"""HTTP as the backends and the engine client use it: errors made typed, server-sent events read."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime

import httpx2
import msgspec

from app.errors import BackendError
from engine.errors import (
    Aborted,
    CheckpointError,
    EngineLost,
    RequestError,
    ResourceError,
    SelenographError,
)

EVENT_LIMIT = 32 << 20
"""Bytes of one server-sent event; more is not a reply but a fault."""
STREAM_LIMIT = 512 << 20
"""Bytes of one reply."""
QUIET_SECONDS = 900.0
"""How long an endpoint may send nothing, or nothing but signs of life."""
PROBE_SECONDS = 10.0
"""How long an endpoint may take to show that it is there."""
_ERROR_LIMIT = 1 << 20
_SHORTEST_KEY = 6
"""Characters; less is in words, too."""
_MOST_TOKENS = 1 << 40
_OURS_TO_MEND = {
    "authentication_error",
    "billing_error",
    "invalid_request_error",
    "not_found_error",
    "permission_error",
    "request_too_large",
}
"""Kinds of errors that both common protocols name and that asking again does not help."""

_HINTS = {
    400: "check the model's name and what the endpoint can do",
    401: "check the key of this endpoint",
    402: "the account of this endpoint has to be paid for",
    403: "check the key of this endpoint, and what it allows",
    404: "check the address and the model's name of this endpoint",
    405: "check the address and the form of this endpoint",
    429: "it has had enough for now; wait, or ask less at once",
}
"""What a person can do about an error by its status."""

_KINDS: dict[str, type[SelenographError]] = {
    cls.kind: cls for cls in (CheckpointError, ResourceError, RequestError, EngineLost)
}


class _Error(msgspec.Struct, frozen=True):
    """An error object as endpoints send it; everything may be missing."""

    message: str = ""
    type: str | None = None
    code: str | int | None = None
    hint: str = ""
    retryable: bool = False


class _ErrorReply(msgspec.Struct, frozen=True):
    error: _Error | str


class _Model(msgspec.Struct, frozen=True):
    id: str = ""


class _Models(msgspec.Struct, frozen=True):
    data: tuple[_Model, ...]


def client(
    base_url: str, token: str, *, ours: bool, headers: Mapping[str, str] | None = None
) -> httpx2.AsyncClient:
    """Our own engine is spoken to directly; other endpoints as the machine's proxies say.

    ``headers`` instead of the usual ``Authorization``.
    """
    if headers is None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
    # A long prompt is silent for minutes; that our engine died shows at the socket.
    timeout = httpx2.Timeout(30.0, connect=15.0, read=None if ours else QUIET_SECONDS)
    return httpx2.AsyncClient(
        base_url=base_url, headers=headers, timeout=timeout, trust_env=not ours
    )


@contextmanager
def typed(where: str, *, ours: bool, key: str = "") -> Iterator[None]:
    """Transport errors inside the block become EngineLost or BackendError. ``key``: is in no
    message, even where the other side repeats it.
    """
    try:
        yield
    except SelenographError as error:
        if len(key) >= _SHORTEST_KEY and key in error.message:
            error.message = error.message.replace(key, "[key]")
            error.args = (error.message,)
        raise
    except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
        what, hint = _of_transport(error)
        if ours:
            raise EngineLost(
                "engine_lost",
                f"the engine stopped answering ({what})",
                "restart the engine, then resume",
                retryable=True,
            ) from error
        raise BackendError("unreachable", f"{where}: {what}", hint, retryable=True) from error


def _of_transport(error: BaseException) -> tuple[str, str]:
    """What went wrong on the way, as the system says it beneath the client's errors, and a hint."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, ConnectionRefusedError):
            return "connection refused", "start the server there, or check the address"
        if isinstance(below, socket.gaierror):
            return "the host's name is not known", "check the address, and this machine's network"
        if isinstance(below, OSError) and below.strerror:
            return below.strerror.lower(), "check the address and the network"
        below = below.__cause__ or below.__context__
    if isinstance(error, httpx2.TimeoutException):
        return f"no answer in time ({type(error).__name__})", "check the address and the network"
    return str(error) or type(error).__name__, "check the address and the network"


async def check(response: httpx2.Response, where: str, *, ours: bool) -> None:
    """Raise what an error reply says; nothing on success."""
    if response.status_code < 400:
        return
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _ERROR_LIMIT:
            break
    error = error_of(bytes(body), response.status_code, where, ours=ours)
    error.retry_after = _seconds(response.headers.get("retry-after", ""))
    raise error


async def probe(http: httpx2.AsyncClient, where: str, *, ours: bool, key: str = "") -> None:
    """As :meth:`app.backends.base.Backend.probe`; by the list of models, which is not read."""
    try:
        with typed(where, ours=ours, key=key):
            async with http.stream("GET", "models", timeout=PROBE_SECONDS) as response:
                await check(response, where, ours=ours)
    except SelenographError as error:
        if error.retryable:
            raise


async def models(
    http: httpx2.AsyncClient, where: str, key: str, path: str = "models"
) -> tuple[str, ...]:
    """The ids of the list that both protocols have. Raises BackendError."""
    with typed(where, ours=False, key=key):
        async with http.stream("GET", path, timeout=PROBE_SECONDS) as response:
            await check(response, where, ours=False)
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > EVENT_LIMIT:
                    raise BackendError("reply_too_long", f"{where}: its list of models has no end")
    try:
        found = msgspec.json.decode(bytes(body), type=_Models).data
    except ValueError as error:
        hint = "check the address: an API's often ends in /v1"
        raise BackendError("bad_models", f"{where}: no list of models: {error}", hint) from None
    return tuple(dict.fromkeys(one.id for one in found if one.id))


def _seconds(text: str) -> float | None:
    """Of a Retry-After header: seconds, or a date."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def error_of(body: bytes, status: int, where: str, *, ours: bool) -> SelenographError:
    """The typed form of an error reply, or of an error in mid-stream (status 0)."""
    try:
        found = msgspec.json.decode(body, type=_ErrorReply).error
    except ValueError:  # no JSON, or not even text
        found = _Error(body[:300].decode("utf-8", "replace").strip())
    if isinstance(found, str):
        found = _Error(found)
    code = str(found.code or (f"http_{status}" if status else found.type or "stream_error"))
    message = found.message or f"{where} answered with status {status}"
    if ours:
        if found.type == Aborted.kind:
            return Aborted(message)
        kind = _KINDS.get(found.type or "", BackendError)
        return kind(code, message, found.hint, retryable=found.retryable)
    hint = found.hint or _HINTS.get(status, "")
    retryable = status in (0, 408, 409, 425, 429) or status >= 500
    retryable = retryable and not (status == 0 and found.type in _OURS_TO_MEND)
    return BackendError(code, f"{where}: {message}", hint, retryable=retryable)


def tokens(told: int | None) -> int:
    """A count as an endpoint told it, kept to what can be."""
    return min(max(told or 0, 0), _MOST_TOKENS)


class Signs:
    """When something of a reply came last, so that mere signs of life do not keep a run waiting."""

    def __init__(self, seconds: float | None = None) -> None:
        """None: ``QUIET_SECONDS``."""
        self._seconds = QUIET_SECONDS if seconds is None else seconds
        self._at = time.monotonic()

    def came(self) -> None:
        """Something of the reply did."""
        self._at = time.monotonic()

    def check(self) -> None:
        """Raises BackendError ``stalled``."""
        if time.monotonic() - self._at > self._seconds:
            message = f"nothing of the reply came for {self._seconds:g} s"
            raise BackendError("stalled", message, "try again", retryable=True)


async def events(
    response: httpx2.Response, signs: Signs | None = None
) -> AsyncGenerator[bytes, None]:
    """The data of each server-sent event; what comes without any is yielded when it ends, for it
    may say why. Raises BackendError ``event_too_long``, ``reply_too_long``, ``stalled``.
    """
    buffer = bytearray()
    size, streams = 0, False
    async for chunk in response.aiter_bytes():
        if signs is not None:
            signs.check()
        size += len(chunk)
        buffer += chunk
        if b"\n" in chunk and (streams or b"data:" in buffer):
            *lines, rest = bytes(buffer).split(b"\n")
            buffer = bytearray(rest)
            for line in lines:
                # One line a datum: what every endpoint of this kind sends.
                if line.startswith(b"data:"):
                    streams = True
                    yield line[5:].strip()
        if len(buffer) > EVENT_LIMIT:
            raise BackendError("event_too_long", "the reply is not in the expected form")
        if size > STREAM_LIMIT:
            raise BackendError("reply_too_long", "the reply does not end")
    if buffer.startswith(b"data:"):
        yield bytes(buffer[5:]).strip()
    elif not streams and buffer.strip():
        yield bytes(buffer[:_ERROR_LIMIT]).strip()
