"""Pictures and tables that code made: checked, kept, and named in the journal."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any, get_args

from app import events as ev
from app.tools.base import ToolContext

MOST = 16
"""Of one call."""
LARGEST = 8 << 20
"""Bytes of one."""
_MEDIA = get_args(ev.Media)
_BEGINNINGS = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
_TITLE = 200


async def keep(found: Any, context: ToolContext) -> str:
    """Store what a kernel says it made; a line for the model about each. Nothing is believed."""
    lines: list[str] = []
    for one in found[:MOST] if isinstance(found, list) else ():
        made = _read(one)
        if made is None or context.blobs is None:
            continue
        media, title, data = made
        try:
            blob = await asyncio.to_thread(context.blobs.put, data)
        except OSError as error:
            lines.append(f"({media} could not be kept: {error.strerror})")
            continue
        context.record(ev.ArtefactMade(context.call, blob, media, title, len(data)))
        named = f" {title}" if title else ""
        lines.append(f"({media}{named}, {len(data):,} bytes, is shown to the person)")
    return "\n".join(lines)


def _read(one: Any) -> tuple[Any, str, bytes] | None:
    if not isinstance(one, dict) or one.get("media") not in _MEDIA:
        return None
    media, title, data = one["media"], one.get("title", ""), one.get("data", "")
    if not isinstance(title, str) or not isinstance(data, str):
        return None
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
    if not raw or len(raw) > LARGEST or not raw.startswith(_BEGINNINGS.get(media, b"")):
        return None
    return media, " ".join(title.split())[:_TITLE], raw
