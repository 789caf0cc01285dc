"""The OpenAI client against a server that sends exactly the bytes a test wants."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from app.backends import base
from app.backends.openai_http import OpenAIBackend
from app.errors import BackendError, EngineLost, RequestError, SelenographError
from engine.protocol import ChatMessage, FunctionSpec, Timings, ToolSpec
from tests.unit.app.backends.served import Answer, Server, reply, serving, sse

REQUEST = base.ModelRequest(
    (ChatMessage("user", "hello"),),
    tools=(ToolSpec(FunctionSpec("calculator", "", {"type": "object"})),),
    model="m",
    sampling=base.Sampling(temperature=0.5, max_tokens=7),
    request_id="r1",
)


def delta(**fields: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def finish(reason: str) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


async def collect(
    answer: Answer, *, ours: bool = True
) -> tuple[list[base.BackendEvent], Server, SelenographError | None]:
    events: list[base.BackendEvent] = []
    error: SelenographError | None = None
    async with asyncio.timeout(20), serving(answer) as server:
        backend = OpenAIBackend(f"http://127.0.0.1:{server.port}/v1", "key", "local", ours)
        try:
            async for event in backend.stream(REQUEST):
                events.append(event)  # noqa: PERF401 - kept when the stream raises
        except SelenographError as raised:
            error = raised
        await backend.close()
    return events, server, error


CALL_HEAD = {"index": 0, "id": "functions.calculator:0", "function": {"name": "calculator"}}
OURS = sse(
    {"choices": [], "x_engine": {"prompt": "<p>", "prompt_tokens": 3}},
    {"choices": [], "x_engine": {"progress": {"done": 1, "total": 3}}},
    delta(reasoning_content="hm", role="assistant")
    | {"x_engine": {"tokens": [{"id": 1, "text": "h"}, {"id": 2, "text": "m"}]}},
    delta(content="grüße 🌍"),
    delta(tool_calls=[CALL_HEAD]),
    delta(tool_calls=[{"index": 0, "function": {"arguments": '{"expression": '}}]),
    delta(tool_calls=[{"index": 0, "function": {"arguments": '"1+1"}'}}]),
    {"choices": [], "x_engine": {"problem": {"code": "odd", "message": "was odd"}}},
    finish("tool_calls"),
    {
        "choices": [],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 9,
            "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 2},
            "completion_tokens_details": None,
        },
        "x_engine": {"timings": {"prefill_ms": 5.0}},
    },
)


@pytest.mark.parametrize("step", [0, 1, 7])
async def test_our_engines_stream_however_it_is_cut(step: int) -> None:
    events, server, error = await collect(reply(OURS, step=step))
    assert error is None
    assert events[:-1] == [
        base.PromptRendered("<p>", 3),
        base.Prefill(1, 3),
        base.ReasoningDelta("hm", 2),
        base.TextDelta("grüße 🌍"),
        base.CallBegin(0, "functions.calculator:0", "calculator"),
        base.CallDelta(0, '{"expression": '),
        base.CallDelta(0, '"1+1"}'),
        base.Problem("odd", "was odd"),
    ]
    last = events[-1]
    assert isinstance(last, base.Finished)
    assert last.reason == "tool_calls"
    assert (last.usage.total_tokens, last.usage.prompt_tokens_details.cached_tokens) == (12, 2)
    assert last.timings == Timings(prefill_ms=5.0)
    assert "authorization: bearer key" in server.heads[0].lower()
    assert server.heads[0].startswith("POST /v1/chat/completions ")
    body = server.bodies[0]
    assert body["x_engine"]["request_id"] == "r1"
    assert (body["temperature"], body["max_tokens"], body["stream"]) == (0.5, 7, True)
    assert "top_p" not in body


async def test_another_endpoint_gets_only_what_the_standard_knows() -> None:
    stream = sse(delta(reasoning="hm"), delta(content="hi"), finish("stop"))
    events, server, error = await collect(reply(stream), ours=False)
    assert error is None
    assert events[:2] == [base.ReasoningDelta("hm"), base.TextDelta("hi")]
    assert set(server.bodies[0]) == {
        "messages", "model", "tools", "stream", "stream_options", "temperature", "max_tokens",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "ours", "kind", "code"),
    [
        (b'{"error": {"message": "too long", "type": "request", "code": "prompt_too_long"}}',
         "400 Bad Request", True, RequestError, "prompt_too_long"),
        (b'{"error": {"message": "slow down", "code": 429}}',
         "429 Too Many", False, BackendError, "429"),
        (b'{"error": "no key"}', "401 Unauthorized", False, BackendError, "http_401"),
        (b"<html>gateway</html>", "502 Bad Gateway", False, BackendError, "http_502"),
    ],
)  # fmt: skip
async def test_error_replies(
    body: bytes, status: str, ours: bool, kind: type[SelenographError], code: str
) -> None:
    events, _, error = await collect(reply(body, status), ours=ours)
    assert events == []
    assert type(error) is kind
    assert error.code == code


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (sse(delta(content="hi")), "no_finish"),
        (sse(delta(content="hi"), done=False), "no_finish"),
        (sse("{nonsense"), "bad_chunk"),
        (sse([1, 2]), "bad_chunk"),
        (sse(delta(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}])), "bad_chunk"),
        (sse(finish("abort")), "aborted"),
        (sse({"error": {"message": "boom", "type": "internal", "code": "internal"}}), "internal"),
        (b"", "no_finish"),
    ],
)
async def test_streams_that_go_wrong(stream: bytes, code: str) -> None:
    _, _, error = await collect(reply(stream))
    assert isinstance(error, BackendError)
    assert error.code == code


async def test_the_engine_dies_in_mid_stream() -> None:
    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        data = sse(delta(content="It is"), done=False)
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await writer.drain()
        writer.transport.abort()

    events, _, error = await collect(cut)
    assert events == [base.TextDelta("It is")]
    assert isinstance(error, EngineLost)
    assert "restart" in error.hint
    events, _, error = await collect(cut, ours=False)
    assert isinstance(error, BackendError)
    assert error.retryable


async def test_nobody_listens() -> None:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    backend = OpenAIBackend(f"http://127.0.0.1:{port}/v1", "", "local", True)
    with pytest.raises(EngineLost):
        await anext(aiter(backend.stream(REQUEST)))
    await backend.close()


async def test_closing_the_stream_hangs_up() -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while not writer.is_closing():
            writer.write(sse(delta(content="x"), done=False))
            await writer.drain()
            await asyncio.sleep(0.005)

    async with asyncio.timeout(20), serving(endless) as server:
        backend = OpenAIBackend(f"http://127.0.0.1:{server.port}/v1", "", "local", True)
        stream = backend.stream(REQUEST)
        assert await anext(stream) == base.TextDelta("x")
        await stream.aclose()  # type: ignore[attr-defined]
        await server.gone.wait()
        await backend.close()


async def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.backends.wire.EVENT_LIMIT", 1000)
    _, _, error = await collect(reply(b"data: " + b"x" * 100_000))
    assert isinstance(error, BackendError)
    assert error.code == "event_too_long"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None)],
)
async def test_when_an_endpoint_says_to_come_back(header: str, seconds: float | None) -> None:
    status = f"429 Too Many\r\nRetry-After: {header}"
    _, _, error = await collect(reply(b"slow down", status), ours=False)
    assert error is not None and error.retryable
    assert error.retry_after == seconds


async def test_what_a_request_says_of_thinking_and_tools() -> None:
    asked = replace(REQUEST, may_call=False, thinking=9)
    for ours in (True, False):
        async with serving(reply(sse({"choices": [{"finish_reason": "stop"}]}))) as server:
            backend = OpenAIBackend(f"http://127.0.0.1:{server.port}/v1", "", "x", ours)
            async for _ in backend.stream(asked):
                pass
            await backend.close()
        (body,) = server.bodies
        assert body["tool_choice"] == "none" and body["tools"]
        assert body.get("x_engine", {}).get("thinking_budget") == (9 if ours else None)


async def test_our_engine_counts_tokens_and_others_do_not() -> None:
    counted = b'{"counts": [2, 7], "context_length": 99}'
    async with serving(reply(counted)) as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        for ours in (True, False):
            backend = OpenAIBackend(url, "", "x", ours)
            found = await backend.count(["one two", "three"])
            assert found == ((2, 7) if ours else None)
            await backend.close()
    (head,) = server.heads
    assert head.startswith("POST /tokenize ")
    assert server.bodies == [{"texts": ["one two", "three"]}]
    async with serving(reply(b"no", "404 Not Found")) as server:
        backend = OpenAIBackend(f"http://127.0.0.1:{server.port}/v1", "", "x", True)
        assert await backend.count(["one"]) is None
        await backend.close()


@pytest.mark.parametrize("ours", [True, False])
async def test_only_our_engine_is_told_which_calls_are_forbidden(ours: bool) -> None:
    calls = (("calculator", '{"expression": "1+1"}'),)
    async with asyncio.timeout(20), serving(reply(OURS)) as server:
        backend = OpenAIBackend(f"http://127.0.0.1:{server.port}/v1", "key", "local", ours)
        request = replace(REQUEST, forbidden=calls, may_call=False)
        async for _ in backend.stream(request):
            pass
        await backend.close()
    (body,) = server.bodies
    assert backend.traits.forbids_calls == ours
    assert body["tool_choice"] == "none"
    told = body.get("x_engine", {}).get("forbidden", ())
    assert [(call["name"], call["arguments"]) for call in told] == (list(calls) if ours else [])
    assert "strict" not in body["tools"][0]["function"]
