"""The client of Anthropic's form against a server that sends exactly the bytes a test wants."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backends import base
from app.backends.anthropic_form import safe_id, system_and_messages
from app.backends.anthropic_http import AnthropicBackend, Thinking
from app.errors import BackendError, SelenographError
from engine.protocol import ChatMessage, FunctionCall, FunctionSpec, ToolCall, ToolSpec
from tests.unit.app.backends.served import Answer, Server, reply, serving, sse

SEAL = "127.0.0.1 sig"
CALLED = ChatMessage(
    "assistant",
    "",
    "it is a sum",
    (ToolCall("functions.calculator:0", FunctionCall("calculator", '{"expression": "1+1"}')),),
    reasoning_seal=SEAL,
)
RESULT = ChatMessage("tool", "2", tool_call_id="functions.calculator:0", name="calculator")
REQUEST = base.ModelRequest(
    (ChatMessage("system", "be brief"), ChatMessage("user", "hello")),
    tools=(ToolSpec(FunctionSpec("calculator", "", {"properties": {}})),),
    model="m",
    sampling=base.Sampling(temperature=1.5, max_tokens=7_000),
    thinking=2_048,
)


def block(index: int, **fields: object) -> dict[str, object]:
    return {"type": "content_block_start", "index": index, "content_block": fields}


def delta(index: int, **fields: object) -> dict[str, object]:
    return {"type": "content_block_delta", "index": index, "delta": fields}


def stop(index: int) -> dict[str, object]:
    return {"type": "content_block_stop", "index": index}


def last(reason: str) -> list[object]:
    return [
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]


BEGIN = {
    "type": "message_start",
    "message": {"id": "msg_1", "usage": {"input_tokens": 3, "cache_read_input_tokens": 4}},
}
WHOLE = sse(
    BEGIN,
    {"type": "ping"},
    block(0, type="thinking", thinking="", signature=""),
    delta(0, type="thinking_delta", thinking="hm, grüße"),
    delta(0, type="signature_delta", signature="sig"),
    stop(0),
    block(1, type="text", text=""),
    delta(1, type="text_delta", text="I look 🌍"),
    stop(1),
    block(2, type="tool_use", id="toolu_1", name="calculator", input={}),
    delta(2, type="input_json_delta", partial_json=""),
    delta(2, type="input_json_delta", partial_json='{"expression": '),
    delta(2, type="input_json_delta", partial_json='"1+1"}'),
    stop(2),
    *last("tool_use"),
    done=False,
)


async def collect(
    answer: Answer, request: base.ModelRequest = REQUEST, thinking: Thinking = "budget"
) -> tuple[list[base.BackendEvent], Server, SelenographError | None]:
    events: list[base.BackendEvent] = []
    error: SelenographError | None = None
    async with asyncio.timeout(20), serving(answer) as server:
        backend = AnthropicBackend(f"http://127.0.0.1:{server.port}", "key", "it", thinking)
        try:
            async for event in backend.stream(request):
                events.append(event)  # noqa: PERF401 - kept when the stream raises
        except SelenographError as raised:
            error = raised
        await backend.close()
    return events, server, error


async def body_of(request: base.ModelRequest, thinking: Thinking = "budget") -> dict[str, Any]:
    _, server, error = await collect(reply(WHOLE), request, thinking)
    assert error is None
    return server.bodies[0]


@pytest.mark.parametrize("step", [0, 1, 7])
async def test_a_stream_however_it_is_cut(step: int) -> None:
    events, server, error = await collect(reply(WHOLE, step=step))
    assert error is None
    assert events[:-1] == [
        base.ReasoningDelta("hm, grüße"),
        base.ReasoningSeal(SEAL),
        base.TextDelta("I look 🌍"),
        base.CallBegin(2, "toolu_1", "calculator"),
        base.CallDelta(2, '{"expression": '),
        base.CallDelta(2, '"1+1"}'),
    ]
    end = events[-1]
    assert isinstance(end, base.Finished) and end.reason == "tool_calls"
    assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (7, 9)
    assert end.usage.prompt_tokens_details.cached_tokens == 4
    head = server.heads[0].lower()
    assert head.startswith("post /v1/messages ") and "x-api-key: key" in head
    assert "anthropic-version: 2023-06-01" in head and "authorization" not in head


async def test_what_is_asked() -> None:
    body = await body_of(REQUEST)
    assert (body["model"], body["max_tokens"], body["stream"]) == ("m", 7_000, True)
    assert body["system"][0]["text"] == "be brief"
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2_048}
    assert "temperature" not in body, "the protocol allows none beside thinking"
    assert body["tool_choice"] == {"type": "auto"}
    assert body["tools"][0]["input_schema"] == {"type": "object", "properties": {}}
    quiet = await body_of(replace(REQUEST, thinking=0, may_call=False))
    assert "thinking" not in quiet and quiet["temperature"] == 1.0
    assert quiet["tool_choice"] == {"type": "none"}
    assert (await body_of(REQUEST, "adaptive"))["thinking"] == {"type": "adaptive"}
    assert "thinking" not in await body_of(REQUEST, "off")
    short = replace(REQUEST, sampling=base.Sampling(max_tokens=1_500))
    assert "thinking" not in await body_of(short), "no room for the least that is allowed"


async def test_thoughts_go_back_under_their_seal_and_else_thinking_rests() -> None:
    path = (*REQUEST.messages, CALLED, RESULT, ChatMessage("user", "(a note)"))
    body = await body_of(replace(REQUEST, messages=path))
    user, assistant, results = body["messages"]
    assert user["role"] == "user" and assistant["role"] == "assistant"
    thought, call = assistant["content"]
    assert thought == {"type": "thinking", "thinking": "it is a sum", "signature": "sig"}
    assert call["input"] == {"expression": "1+1"}
    result, note = results["content"]
    assert result["tool_use_id"] == call["id"] and result["content"] == "2"
    assert note["text"] == "(a note)" and note["cache_control"] == {"type": "ephemeral"}

    for seal in (None, "elsewhere sig"):
        other = replace_seal(CALLED, seal)
        body = await body_of(replace(REQUEST, messages=(*REQUEST.messages, other, RESULT)))
        assert "thinking" not in body
        assert [b["type"] for b in body["messages"][1]["content"]] == ["tool_use"]
    answered = replace(REQUEST, messages=(*path, ChatMessage("assistant", "2."), *path[1:2]))
    assert "thinking" in await body_of(answered), "the question is new"


def replace_seal(message: ChatMessage, seal: str | None) -> ChatMessage:
    return ChatMessage(
        message.role,
        message.content,
        message.reasoning_content,
        message.tool_calls,
        reasoning_seal=seal,
    )


async def test_servers_that_sign_nothing_get_thoughts_back() -> None:
    stream = sse(
        block(0, type="thinking", thinking="so"), block(1, type="text", text="2"), *last("end_turn")
    )
    events, _, error = await collect(reply(stream))
    assert error is None
    assert events[:3] == [
        base.ReasoningDelta("so"), base.ReasoningSeal("127.0.0.1 "), base.TextDelta("2"),
    ]  # fmt: skip
    seal = "127.0.0.1 "
    path = (*REQUEST.messages, replace_seal(CALLED, seal), RESULT)
    body = await body_of(replace(REQUEST, messages=path))
    assert body["messages"][1]["content"][0] == {"type": "thinking", "thinking": "it is a sum"}


async def test_a_server_that_does_not_stream() -> None:
    whole = {
        "type": "message",
        "content": [
            {"type": "text", "text": "hi"},
            {"type": "tool_use", "id": "t", "name": "calculator", "input": {"expression": "1"}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }
    events, _, error = await collect(reply(json.dumps(whole).encode()))
    assert error is None
    assert events[0] == base.TextDelta("hi")
    assert events[1:3] == [base.CallBegin(1, "t", "calculator"), base.CallDelta(1, '{"expression":"1"}')]  # noqa: E501  # fmt: skip


OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
WRONG = {"type": "error", "error": {"type": "invalid_request_error", "message": "no such model"}}


@pytest.mark.parametrize(
    ("stream", "status", "code", "retryable"),
    [
        (sse(BEGIN, OVERLOADED), "200 OK", "overloaded_error", True),
        (sse(WRONG), "200 OK", "invalid_request_error", False),
        (json.dumps(OVERLOADED).encode(), "200 OK", "overloaded_error", True),
        (json.dumps(OVERLOADED).encode(), "529 Overloaded", "http_529", True),
        (json.dumps(WRONG).encode(), "400 Bad Request", "http_400", False),
        (sse(BEGIN, done=False), "200 OK", "no_finish", True),
        (sse(*last("refusal")), "200 OK", "refused", False),
        (b"data: \xff\xfe\n\n", "200 OK", "bad_chunk", True),
        (b"<html>wrong door</html>", "200 OK", "bad_chunk", True),
        (sse(delta(3, type="input_json_delta", partial_json="{}")), "200 OK", "bad_chunk", True),
    ],
)
async def test_streams_that_go_wrong(
    stream: bytes, status: str, code: str, retryable: bool
) -> None:
    _, _, error = await collect(reply(stream, status))
    assert isinstance(error, BackendError)
    assert (error.code, error.retryable) == (code, retryable)


async def test_signs_of_life_alone_do_not_keep_it_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.backends.wire.QUIET_SECONDS", 0.2)

    async def pings(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while not writer.is_closing():
            writer.write(sse({"type": "ping"}, done=False))
            await writer.drain()
            await asyncio.sleep(0.02)

    _, _, error = await collect(pings)
    assert isinstance(error, BackendError) and error.code == "stalled" and error.retryable


@given(st.lists(st.text(min_size=1, max_size=12), unique=True))
def test_ids_stay_apart(ids: list[str]) -> None:
    made = [safe_id(id) for id in ids]
    assert len(set(made)) == len(ids)
    assert all(set(id) <= set("-_0123456789") | set(map(chr, range(65, 123))) for id in made)


MESSAGES = st.lists(
    st.builds(
        ChatMessage,
        st.sampled_from(["system", "user", "assistant", "tool"]),
        st.text(max_size=3),
        st.none() | st.just("hm"),
        st.just(()) | st.just(CALLED.tool_calls),
        reasoning_seal=st.none() | st.just(SEAL),
    ),
    max_size=8,
)


@given(MESSAGES, st.sampled_from(["", "127.0.0.1"]))
def test_messages_are_always_in_turns(messages: list[ChatMessage], seals: str) -> None:
    _, made, _ = system_and_messages(messages, seals)
    roles = [message["role"] for message in made]
    assert roles[0] == "user"
    assert all(one != other for one, other in pairwise(roles))
    for message in made:
        assert message["content"]
        for one in message["content"]:
            assert one["type"] != "text" or one["text"].strip()
