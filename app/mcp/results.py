"""What a server's tool gives back, as bounded text."""

from __future__ import annotations

import json

from mcp import types

from app.tools.documents.document import plain

LONGEST = 60_000
"""Characters of a result."""
MOST_BLOCKS = 500


def as_text(result: types.CallToolResult) -> str:
    """The text blocks; of others what they are; without any, the structured content as JSON."""
    room = LONGEST
    parts: list[str] = []
    for block in result.content[:MOST_BLOCKS]:
        text = plain(_block(block)[: LONGEST + 1])
        parts.append(text[:room])
        room -= len(text)
        if room < 0:
            break
    left = len(result.content) - MOST_BLOCKS
    if room >= 0 and not result.content and result.structured_content is not None:
        text = plain(json.dumps(result.structured_content, ensure_ascii=False, indent=1))
        parts.append(text[:room])
        room -= len(text)
    if room < 0 or left > 0:
        parts.append("(the rest of the result is left out)")
    return "\n".join(part for part in parts if part)


def _block(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent(text=text):
            return text
        case types.ImageContent(mime_type=mime, data=data):
            return f"[image: {mime}, {_size(data)}]"
        case types.AudioContent(mime_type=mime, data=data):
            return f"[sound: {mime}, {_size(data)}]"
        case types.ResourceLink(name=name, uri=uri):
            return f"[resource {name}: {uri}]"
        case types.EmbeddedResource(resource=types.TextResourceContents(text=text)):
            return text
        case types.EmbeddedResource(resource=resource):
            return f"[resource {resource.uri}]"
    return f"[{type(block).__name__}]"


def _size(base64: str) -> str:
    return f"{len(base64) * 3 // 4:,} bytes"
