"""A response's body, taken no further than a limit: of what is sent, and of what it unpacks to."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import httpx2

from app.errors import ToolError

ENCODINGS = "gzip, deflate"
"""What we ask for and can unpack with a limit."""


@dataclass(frozen=True, slots=True)
class Body:
    """``cut``: there was more."""

    data: bytes
    cut: bool


async def read_body(response: httpx2.Response, most: int) -> Body:
    """At most ``most`` bytes, unpacked. Raises ToolError ``bad_response`` and httpx2 errors."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    unpack = _unpacker(encoding)
    parts: list[bytes] = []
    room = most
    async for chunk in response.aiter_raw():
        try:
            data = unpack.decompress(chunk, room + 1) if unpack else chunk
        except zlib.error:
            raise ToolError("bad_response", f"its {encoding} encoding is damaged") from None
        parts.append(data[:room])
        if len(data) > room:
            return Body(b"".join(parts), cut=True)
        room -= len(data)
        if unpack is not None and unpack.eof:
            break
    return Body(b"".join(parts), cut=False)


class _Unpacker:
    """zlib with a limit: what is left over of a chunk is given up with the rest of the body."""

    def __init__(self, bits: int) -> None:
        self._stream = zlib.decompressobj(bits)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    def decompress(self, chunk: bytes, most: int) -> bytes:
        return self._stream.decompress(chunk, most)


def _unpacker(encoding: str) -> _Unpacker | None:
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Unpacker(zlib.MAX_WBITS | 32)
    raise ToolError("bad_response", f"it is sent in the encoding {encoding[:40]!r}, unasked for")
