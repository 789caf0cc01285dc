"""Routes. Each is one call; errors become replies in one place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from engine.errors import SelenographError
from engine.protocol import (
    EngineEvent,
    EngineStatus,
    FolderReport,
    InspectRequest,
    LoadRequest,
    ModelCard,
    ModelList,
    PlanReport,
    PlanRequest,
)
from engine.server.chat import chat_completions
from engine.server.experts import experts, trace
from engine.server.guard import Guard
from engine.server.metrics import metrics
from engine.server.replies import NotFound, error_reply, json_reply, read_body
from engine.server.tokenize import tokenize
from engine.types import EngineHandle

log = logging.getLogger("engine.http")
Handler = Callable[[HttpRequest], Awaitable[Response]]
_STATUS_SECONDS = 1.5
"""After which a status is sent though nothing was told of. An engine tells about once a second."""


def build_app(
    engine: EngineHandle,
    inspect: Callable[[Path], FolderReport],
    plan: Callable[[PlanRequest], PlanReport],
    token: str,
    port: int,
) -> Starlette:
    """The ASGI application behind its guard."""

    async def chat(http: HttpRequest) -> Response:
        return await chat_completions(engine, http)

    async def models(http: HttpRequest) -> Response:
        m = engine.loaded()
        cards = (
            (ModelCard(m.name, created=m.created, context_length=m.context_length),) if m else ()
        )
        return json_reply(ModelList(cards))

    async def status(http: HttpRequest) -> Response:
        return json_reply(engine.status())

    async def load(http: HttpRequest) -> Response:
        engine.load(await read_body(http, LoadRequest))
        return json_reply(engine.status(), 202)

    async def unload(http: HttpRequest) -> Response:
        engine.unload()
        return json_reply(engine.status(), 202)

    async def inspect_folder(http: HttpRequest) -> Response:
        wanted = await read_body(http, InspectRequest)
        return json_reply(await asyncio.to_thread(inspect, Path(wanted.path).expanduser()))

    async def plan_model(http: HttpRequest) -> Response:
        return json_reply(await asyncio.to_thread(plan, await read_body(http, PlanRequest)))

    async def events(http: HttpRequest) -> Response:
        return StreamingResponse(_events(engine), media_type="text/event-stream")

    async def abort(http: HttpRequest) -> Response:
        found = engine.abort(http.path_params["id"])
        return json_reply({"aborted": found}, 200 if found else 404)

    async def nowhere(http: HttpRequest) -> Response:
        raise NotFound("no_route", f"there is nothing at {http.method} {http.url.path}")

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    return Starlette(
        routes=[
            Route("/v1/chat/completions", _guarded(chat), methods=["POST"]),
            Route("/tokenize", _guarded(partial(tokenize, engine)), methods=["POST"]),
            Route("/v1/models", _guarded(models), methods=["GET"]),
            Route("/engine/status", _guarded(status), methods=["GET"]),
            Route("/engine/load", _guarded(load), methods=["POST"]),
            Route("/engine/unload", _guarded(unload), methods=["POST"]),
            Route("/engine/inspect", _guarded(inspect_folder), methods=["POST"]),
            Route("/engine/plan", _guarded(plan_model), methods=["POST"]),
            Route("/engine/events", _guarded(events), methods=["GET"]),
            Route("/engine/experts", _guarded(partial(experts, engine)), methods=["GET"]),
            Route("/engine/trace/{id}", _guarded(partial(trace, engine)), methods=["GET"]),
            Route("/metrics", _guarded(partial(metrics, engine)), methods=["GET"]),
            Route("/engine/requests/{id}/abort", _guarded(abort), methods=["POST"]),
            Route("/{rest:path}", _guarded(nowhere), methods=methods),
        ],
        middleware=[Middleware(Guard, token=token, port=port)],
    )


def _guarded(handler: Handler) -> Handler:
    async def answer(http: HttpRequest) -> Response:
        try:
            return await handler(http)
        except SelenographError as error:
            return error_reply(error)
        except Exception as error:  # the HTTP handler is a boundary
            log.exception("request failed")
            return error_reply(
                SelenographError("internal", f"{type(error).__name__}: {error}", "see the log")
            )

    return answer


async def _events(engine: EngineHandle) -> AsyncGenerator[bytes, None]:
    loop = asyncio.get_running_loop()
    news: asyncio.Queue[EngineStatus] = asyncio.Queue()

    def listen(status: EngineStatus) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(news.put_nowait, status)

    leave = engine.subscribe(listen)
    try:
        status = engine.status()
        while True:
            yield b"data: " + msgspec.json.encode(EngineEvent("status", status)) + b"\n\n"
            try:
                async with asyncio.timeout(_STATUS_SECONDS):
                    status = await news.get()
            except TimeoutError:  # a step may take minutes where experts come from disk
                status = engine.status()
            while not news.empty():
                status = news.get_nowait()
    finally:
        leave()
