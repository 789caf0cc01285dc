"""Chat completions as OpenAI's own client sees them, from a real engine process."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from engine.tiny import write_tiny

from .engine_process import EngineProcess, data_of, write_reciting

REASONING, ANSWER = " think what the question", "answer is not from code"
PROMPT: Any = [{"role": "user", "content": "Which file has the answer?"}]
CALCULATOR: Any = {
    "type": "function",
    "function": {
        "name": "calculator",
        "description": "Computes.",
        "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}},
    },
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """Knows one reply by heart: reasoning, then an answer."""
    folder = tmp_path_factory.mktemp("endpoint")
    model = write_reciting(folder / "recite", f"<think>{REASONING}</think>{ANSWER}")
    with EngineProcess.started(folder / "log", model) as engine:
        yield engine


@pytest.fixture(scope="module")
def random_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """Random weights: every distribution is broad, so that sampling has something to choose."""
    folder = tmp_path_factory.mktemp("random")
    with EngineProcess.started(folder / "log", write_tiny(folder / "tiny", seed=5)) as engine:
        yield engine


def ask(engine: EngineProcess, **fields: Any) -> ChatCompletion:
    with engine.sdk() as client:
        reply: ChatCompletion = client.chat.completions.create(
            model="recite", messages=PROMPT, **fields
        )
        return reply


def ask_streaming(engine: EngineProcess, **fields: Any) -> list[ChatCompletionChunk]:
    with (
        engine.sdk() as client,
        client.chat.completions.create(
            model="recite", messages=PROMPT, stream=True, **fields
        ) as stream,
    ):
        return list(stream)


def written(chunks: list[ChatCompletionChunk], field: str) -> str:
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    return "".join(getattr(delta, field, None) or "" for delta in deltas)


# -- the form of a reply


def test_models_lists_what_is_loaded(engine: EngineProcess) -> None:
    with engine.sdk() as client:
        (card,) = client.models.list().data
    assert (card.id, card.owned_by) == ("recite", "selenograph")


def test_whole_reply(engine: EngineProcess) -> None:
    reply = ask(engine)
    (choice,) = reply.choices
    assert choice.finish_reason == "stop"
    assert choice.message.role == "assistant"
    assert choice.message.content == ANSWER
    assert choice.message.reasoning_content == REASONING  # type: ignore[attr-defined]
    assert choice.message.tool_calls is None
    assert reply.model == "recite"


def test_usage_counts_reasoning_and_cached_tokens(engine: EngineProcess) -> None:
    messages: Any = [{"role": "user", "content": "the number of the note"}]
    with engine.sdk() as client:
        first, again = (
            client.chat.completions.create(model="", messages=messages) for _ in range(2)
        )
    usage = first.usage
    assert usage is not None and again.usage is not None
    # <think>, four words, </think>, five words, <|im_end|>; the opening mark counts as reasoning.
    assert usage.completion_tokens == 12
    assert usage.total_tokens == usage.prompt_tokens + 12
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 5
    assert again.usage.prompt_tokens == usage.prompt_tokens
    assert again.usage.prompt_tokens_details is not None
    # All but the last token, whose logits begin the reply.
    assert again.usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens - 1
    assert again.choices[0].message.content == ANSWER


def test_stream_says_the_same_in_order(engine: EngineProcess) -> None:
    chunks = ask_streaming(engine)
    assert written(chunks, "reasoning_content") == REASONING
    assert written(chunks, "content") == ANSWER
    kinds = [
        kind
        for chunk in chunks
        for choice in chunk.choices
        for kind in ("role", "reasoning_content", "content", "finish_reason")
        if getattr(choice.delta, kind, None) or (kind == "finish_reason" and choice.finish_reason)
    ]
    assert [kind for kind, _ in itertools.groupby(kinds)] == [
        "role",
        "reasoning_content",
        "content",
        "finish_reason",
    ]
    assert chunks[-1].usage is not None and not chunks[-1].choices
    assert chunks[-1].usage.completion_tokens == 12
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}


def test_stream_without_usage(engine: EngineProcess) -> None:
    chunks = ask_streaming(engine, stream_options={"include_usage": False})
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_additions_come_only_when_asked_for(engine: EngineProcess) -> None:
    asked = {"request_id": "mine", "return_prompt": True, "return_tokens": True}
    with (
        engine.http() as http,
        http.stream(
            "POST",
            "/v1/chat/completions",
            json={"messages": PROMPT, "stream": True, "x_engine": asked},
        ) as reply,
    ):
        assert reply.headers["x-request-id"] == "mine"
        chunks = list(data_of(reply))
    assert "<|im_user|>user<|im_middle|>Which file" in chunks[0]["x_engine"]["prompt"]
    assert {chunk["id"] for chunk in chunks} == {"mine"}
    tokens = [t for c in chunks for t in c.get("x_engine", {}).get("tokens", ())]
    assert [t["text"] for t in tokens][:2] == ["<think>", " think"]
    assert tokens[-1]["text"] == "<|im_end|>" and len(tokens) == 12
    assert chunks[-1]["x_engine"]["timings"]["decode_tokens_per_s"] > 0
    plain = ask(engine).model_extra or {}
    assert "prompt" not in plain["x_engine"] and "tokens" not in plain["x_engine"]


# -- what bounds a reply


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_max_tokens(engine: EngineProcess, field: str) -> None:
    reply = ask(engine, **{field: 7})
    assert reply.choices[0].finish_reason == "length"
    assert reply.choices[0].message.content == "answer"
    assert reply.usage is not None and reply.usage.completion_tokens == 7


@pytest.mark.parametrize("stop", [" not", ["nowhere", " not from"], ["er is", " code"]])
def test_stop_strings(engine: EngineProcess, stop: str | list[str]) -> None:
    strings = [stop] if isinstance(stop, str) else stop
    want = min((ANSWER.partition(s)[0] for s in strings), key=len)
    whole, streamed = ask(engine, stop=stop), ask_streaming(engine, stop=stop)
    assert whole.choices[0].finish_reason == "stop"
    assert whole.choices[0].message.content == written(streamed, "content") == want
    assert whole.usage is not None and whole.usage.completion_tokens < 12


def test_stop_strings_leave_reasoning_alone(engine: EngineProcess) -> None:
    message = ask(engine, stop=" what").choices[0].message
    assert message.reasoning_content == REASONING  # type: ignore[attr-defined]
    assert message.content == ANSWER


# -- sampling


def sampled(engine: EngineProcess, **fields: Any) -> list[str]:
    reply = ask(engine, max_tokens=40, logprobs=True, **fields)
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    return [token.token for token in logprobs.content]


def test_seed_decides(random_engine: EngineProcess) -> None:
    first = sampled(random_engine, seed=11)
    assert len(first) > 5
    assert sampled(random_engine, seed=11) == first
    assert sampled(random_engine, seed=12) != first
    assert sampled(random_engine) != sampled(random_engine)


def test_seed_decides_in_company_too(random_engine: EngineProcess) -> None:
    alone = sampled(random_engine, seed=21, temperature=0.7)
    with ThreadPoolExecutor(3) as threads:
        company = [threads.submit(sampled, random_engine, seed=s) for s in (1, 2)]
        again = threads.submit(sampled, random_engine, seed=21, temperature=0.7)
        assert again.result() == alone
        assert all(len(other.result()) > 1 for other in company)


def test_temperature_zero_takes_the_best(random_engine: EngineProcess) -> None:
    reply = ask(random_engine, temperature=0, max_tokens=20, logprobs=True, top_logprobs=3)
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None and logprobs.content
    for token in logprobs.content:
        tops = [top.logprob for top in token.top_logprobs]
        assert len(tops) == 3 and tops == sorted(tops, reverse=True)
        assert token.logprob == tops[0] < 0
        assert sum(math.exp(p) for p in tops) < 1
        assert token.top_logprobs[0].token == token.token


def test_logprobs_come_with_the_stream(random_engine: EngineProcess) -> None:
    fields: dict[str, Any] = {"seed": 3, "max_tokens": 12, "logprobs": True, "top_logprobs": 2}
    whole = ask(random_engine, **fields).choices[0].logprobs
    chunks = ask_streaming(random_engine, **fields)
    streamed = [
        token
        for chunk in chunks
        for choice in chunk.choices
        if choice.logprobs is not None
        for token in choice.logprobs.content or ()
    ]
    assert whole is not None and streamed == whole.content


# -- tools, and several at once


def test_a_tool_call(tmp_path: Path) -> None:
    call = (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.calculator:0"
        "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>"
    )
    model = write_reciting(tmp_path / "caller", call)
    with EngineProcess.started(tmp_path / "log", model) as engine:
        reply = ask(engine, tools=[CALCULATOR])
        chunks = ask_streaming(engine, tools=[CALCULATOR])
    (choice,) = reply.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    (made,) = choice.message.tool_calls
    assert made.type == "function" and made.id == "functions.calculator:0"
    assert (made.function.name, made.function.arguments) == ("calculator", "{}")
    deltas = [d for c in chunks for o in c.choices for d in o.delta.tool_calls or ()]
    assert deltas[0].id == made.id
    assert deltas[0].function is not None and deltas[0].function.name == "calculator"
    assert "".join(d.function.arguments or "" for d in deltas if d.function) == "{}"
    assert chunks[-2].choices[0].finish_reason == "tool_calls"


def test_two_parallel_streams_both_finish(engine: EngineProcess) -> None:
    with ThreadPoolExecutor(2) as threads:
        streams = [threads.submit(ask_streaming, engine) for _ in range(2)]
        for stream in streams:
            assert written(stream.result(), "content") == ANSWER


def test_a_wrong_key_raises_the_sdk_s_own_error(engine: EngineProcess) -> None:
    with (
        openai.OpenAI(base_url=f"{engine.url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.models.list()
    assert caught.value.code == "wrong_token"


def test_texts_are_counted(engine: EngineProcess) -> None:
    headers = {"Authorization": f"Bearer {engine.token}"}
    texts = ["", ANSWER, ANSWER * 3, "<think>"]
    reply = httpx2.post(f"{engine.url}/tokenize", json={"texts": texts}, headers=headers)
    counts = reply.json()["counts"]
    assert counts[0] == 0 < counts[1] < counts[2]
    assert counts[3] > 1, "marker text is text"
    assert reply.json()["context_length"] > 0
