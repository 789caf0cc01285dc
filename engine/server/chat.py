"""``POST /v1/chat/completions``: a request checked and rendered, its emissions as chunks."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive

from engine.errors import Aborted, RequestError, ResourceError, context_exceeded
from engine.protocol import ChatRequest
from engine.server.chunks import ChunkWriter, collect
from engine.server.replies import json_reply, read_body
from engine.text.tool_call import ToolSpec, check_names
from engine.types import (
    Broke,
    Emission,
    Ended,
    EngineHandle,
    LoadedText,
    Request,
    SamplingParams,
)


@dataclass(frozen=True, slots=True)
class Job:
    """A submitted request and where its emissions arrive (on the server's event loop)."""

    request: Request
    chat: ChatRequest
    model: str
    inbox: asyncio.Queue[Emission]


async def chat_completions(engine: EngineHandle, http: HttpRequest) -> Response:
    """One completion. Raises RequestError, ResourceError before the first byte."""
    chat = await read_body(http, ChatRequest)
    loaded = engine.loaded()
    if loaded is None:
        raise _nothing_loaded(engine)
    # Rendering and tokenising a long history takes a while; the loop serves others meanwhile.
    job = await asyncio.to_thread(_prepare, loaded, chat, asyncio.get_running_loop())
    engine.submit(job.request)
    if chat.stream:
        # Starlette ends the generator as soon as the client is gone.
        return StreamingResponse(
            _stream(engine, job),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-request-id": job.request.id},
        )
    return await _whole(engine, job, http.receive)


async def _stream(engine: EngineHandle, job: Job) -> AsyncIterator[bytes]:
    writer = ChunkWriter(job.request, job.chat, job.model)
    done = False
    try:
        while not done:
            emission = await job.inbox.get()
            done = isinstance(emission, Ended | Broke)
            for chunk in writer.chunks(emission):
                yield b"data: " + msgspec.json.encode(chunk) + b"\n\n"
        yield b"data: [DONE]\n\n"
    finally:
        if not done:
            engine.abort(job.request.id)


async def _whole(engine: EngineHandle, job: Job, receive: Receive) -> Response:
    gone = asyncio.create_task(_disconnected(receive))
    emissions: list[Emission] = []
    done = False
    try:
        while not done:
            arrival = asyncio.create_task(job.inbox.get())
            await asyncio.wait({arrival, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not arrival.done():
                arrival.cancel()
                raise Aborted("the client went away")
            emissions.append(arrival.result())
            done = isinstance(emissions[-1], Ended | Broke)
    finally:
        gone.cancel()
        if not done:
            engine.abort(job.request.id)
    if isinstance(last := emissions[-1], Broke):
        raise last.error
    return json_reply(collect(job.request, job.chat, job.model, emissions))


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _prepare(loaded: LoadedText, chat: ChatRequest, loop: asyncio.AbstractEventLoop) -> Job:
    if chat.n != 1:
        raise RequestError("bad_request", "n other than 1 is not supported", "send n requests")
    if chat.presence_penalty or chat.frequency_penalty:
        raise RequestError("bad_request", "penalties are not supported", "leave them out, or 0")
    check_names([tool.function.name for tool in chat.tools], loaded.grammars.marks.prefix)
    prompt = loaded.template.render(chat.messages, chat.tools)
    count, context = len(prompt.token_ids), loaded.context_length
    if count >= context:
        raise context_exceeded(count, context)
    inbox: asyncio.Queue[Emission] = asyncio.Queue()

    def sink(emission: Emission) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(inbox.put_nowait, emission)

    options, created = chat.x_engine, time.monotonic()
    request = Request(
        id=options.request_id or f"chatcmpl-{secrets.token_hex(12)}",
        prompt=prompt,
        sampling=_sampling(chat, loaded.defaults, context - count),
        tools=tuple(ToolSpec(t.function.name, t.function.parameters) for t in chat.tools),
        sink=sink,
        return_tokens=options.return_tokens,
        speculate=options.speculate,
        thinking_budget=options.thinking_budget,
        rules=loaded.grammars.rules(chat),
        created=created,
        priority=options.priority,
        deadline=created + options.deadline_s if options.deadline_s is not None else None,
    )
    return Job(request, chat, loaded.name, inbox)


def _sampling(chat: ChatRequest, defaults: SamplingParams, room: int) -> SamplingParams:
    asked = chat.max_completion_tokens or chat.max_tokens or room
    stop = (chat.stop,) if isinstance(chat.stop, str) else chat.stop or ()
    params = replace(
        defaults,
        temperature=_or(chat.temperature, defaults.temperature),
        top_p=_or(chat.top_p, defaults.top_p),
        top_k=int(_or(chat.top_k, defaults.top_k)),
        min_p=_or(chat.min_p, defaults.min_p),
        seed=chat.seed,
        stop=tuple(s for s in stop if s),
        max_tokens=min(asked, room),
        logprobs=chat.logprobs,
        top_logprobs=chat.top_logprobs,
    )
    _in_range("temperature", params.temperature, 0, 100)
    _in_range("top_p", params.top_p, 1e-9, 1)
    _in_range("top_k", params.top_k, 0, 1 << 24)
    _in_range("min_p", params.min_p, 0, 1)
    _in_range("top_logprobs", params.top_logprobs, 0, 20)
    _in_range("max_tokens", asked, 1, 1 << 30)
    if len(params.stop) > 16 or any(len(s) > 1000 for s in params.stop):
        raise RequestError("bad_request", "at most 16 stop strings of 1,000 characters")
    return params


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _in_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise RequestError("bad_request", f"{name} is {value:g}; it must be {low:g} to {high:g}")


def _nothing_loaded(engine: EngineHandle) -> ResourceError:
    if engine.status().state == "loading":
        return ResourceError(
            "loading", "the model is still loading", "try again when it is ready", retryable=True
        )
    return ResourceError("no_model", "no model is loaded", "load one with POST /engine/load")
