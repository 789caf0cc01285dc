"""What there is to know of routed experts: the maps, and one request's share of the hits."""

from __future__ import annotations

from typing import get_args

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from engine.errors import RequestError
from engine.protocol import HeatWindow
from engine.server.replies import NotFound, json_reply
from engine.types import EngineHandle


async def experts(engine: EngineHandle, http: HttpRequest) -> Response:
    """``GET /engine/experts?window=start``"""
    asked = http.query_params.get("window", "start")
    windows: tuple[HeatWindow, ...] = get_args(HeatWindow)
    for window in windows:
        if window == asked:
            return json_reply(engine.experts(window))
    raise RequestError(
        "bad_window", f"there is no window {asked[:40]!r}", f"choose {' or '.join(windows)}"
    )


async def trace(engine: EngineHandle, http: HttpRequest) -> Response:
    """``GET /engine/trace/{id}``"""
    id = http.path_params["id"]
    found = engine.trace(id)
    if found is None:
        raise NotFound(
            "no_trace",
            f"nothing is known of the request {id[:80]!r}",
            "the last few requests are kept, from their first step on",
        )
    return json_reply(found)
