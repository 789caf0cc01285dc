"""``POST /tokenize``: how many tokens texts have."""

from __future__ import annotations

import asyncio

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from engine.errors import ResourceError
from engine.protocol import TokenizeReply, TokenizeRequest
from engine.server.replies import json_reply, read_body
from engine.types import EngineHandle


async def tokenize(engine: EngineHandle, http: HttpRequest) -> Response:
    """Counts in the order of the texts. Raises ResourceError ``no_model``."""
    asked = await read_body(http, TokenizeRequest)
    loaded = engine.loaded()
    if loaded is None:
        raise ResourceError("no_model", "no model is loaded", "load one with POST /engine/load")
    encode = loaded.tokenizer.encode
    counts = await asyncio.to_thread(lambda: tuple(len(encode(text)) for text in asked.texts))
    return json_reply(TokenizeReply(counts, loaded.context_length))
