"""Any OpenAI-compatible endpoint: our engine, another server, a hosted service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from app.backends import base, wire
from app.backends.leaks import parsed
from app.errors import BackendError, SelenographError
from engine.protocol import (
    ChatMessage,
    ChatRequest,
    ChunkExtra,
    CompletionTokensDetails,
    EngineOptions,
    FunctionCall,
    PromptTokensDetails,
    StreamOptions,
    Timings,
    TokenizeReply,
    TokenizeRequest,
    Usage,
)

# What endpoints send, leniently: names of our protocol, and anything may be null or missing.


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct, frozen=True):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    """The same under another name, as some servers have it."""
    tool_calls: tuple[_Call, ...] | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta | None = None
    message: _Delta | None = None
    """Of a whole reply, from servers that do not stream."""
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None

    def usage(self) -> Usage:
        prompt, completion = wire.tokens(self.prompt_tokens), wire.tokens(self.completion_tokens)
        cached = (self.prompt_tokens_details or _PromptDetails()).cached_tokens
        details = self.completion_tokens_details or _CompletionDetails()
        return Usage(
            prompt,
            completion,
            prompt + completion,
            PromptTokensDetails(wire.tokens(cached)),
            CompletionTokensDetails(
                wire.tokens(details.reasoning_tokens),
                wire.tokens(details.accepted_prediction_tokens),
                wire.tokens(details.rejected_prediction_tokens),
            ),
        )


class _Chunk(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] | None = None
    usage: _Usage | None = None
    x_engine: ChunkExtra | None = None
    error: msgspec.Raw = msgspec.Raw()


_chunks: msgspec.json.Decoder[_Chunk] = msgspec.json.Decoder(_Chunk)


class OpenAIBackend:
    """One endpoint. ``base_url`` ends in ``/v1``; ``ours``: it is the Selenograph engine."""

    def __init__(self, base_url: str, token: str, name: str, ours: bool) -> None:
        self._name = name
        self._key = token
        self._ours = ours
        self.traits = base.Traits(closes_reasoning=ours, forbids_calls=ours)
        self._root = base_url.rstrip("/").removesuffix("/v1")
        self._client = wire.client(base_url, token, ours=ours)

    @property
    def name(self) -> str:
        return self._name

    def stream(self, request: base.ModelRequest) -> AsyncIterator[base.BackendEvent]:
        return self._stream(request) if self._ours else parsed(self._stream(request))

    async def _stream(self, request: base.ModelRequest) -> AsyncIterator[base.BackendEvent]:
        reader = Reader(self._name, self._ours)
        signs = None if self._ours else wire.Signs()
        body = msgspec.json.encode(_body(request, self._ours))
        with wire.typed(self._name, ours=self._ours, key=self._key):
            async with self._client.stream(
                "POST",
                "chat/completions",
                content=body,
                headers={"Content-Type": "application/json", "Accept": "text/event-stream"},
            ) as response:
                await wire.check(response, self._name, ours=self._ours)
                async with aclosing(wire.events(response, signs)) as data:
                    async for datum in data:
                        if datum == b"[DONE]":
                            break
                        for event in reader.read(datum):
                            if signs is not None:
                                signs.came()
                            yield event
        yield reader.finished()

    async def count(self, texts: Sequence[str]) -> tuple[int, ...] | None:
        """Our engine's own count; of others None."""
        if not self._ours:
            return None
        try:
            with wire.typed(self._name, ours=True):
                response = await self._client.post(
                    self._root + "/tokenize",
                    content=msgspec.json.encode(TokenizeRequest(tuple(texts))),
                )
                await wire.check(response, self._name, ours=True)
            return msgspec.json.decode(response.content, type=TokenizeReply).counts
        except (SelenographError, msgspec.DecodeError):
            return None

    async def probe(self) -> None:
        await wire.probe(self._client, self._name, ours=self._ours, key=self._key)

    async def models(self) -> tuple[str, ...]:
        return await wire.models(self._client, self._name, self._key)

    async def close(self) -> None:
        await self._client.aclose()


def unsealed(message: ChatMessage) -> ChatMessage:
    """Without what is another endpoint's business."""
    sealed = message.reasoning_seal is not None
    return msgspec.structs.replace(message, reasoning_seal=None) if sealed else message


def _body(request: base.ModelRequest, ours: bool) -> dict[str, Any]:
    sampling = request.sampling
    chat = ChatRequest(
        messages=tuple(unsealed(message) for message in request.messages),
        model=request.model,
        tools=request.tools,
        stream=True,
        stream_options=StreamOptions(),
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        max_tokens=sampling.max_tokens,
        x_engine=EngineOptions(
            request.request_id or None,
            return_prompt=True,
            return_tokens=True,
            thinking_budget=request.thinking,
            forbidden=tuple(FunctionCall(*call) for call in request.forbidden),
        ),
    )
    wanted = {"messages", "model", "tools", "stream", "stream_options"}
    wanted |= {"temperature", "top_p", "seed", "max_tokens"}
    if ours:
        wanted.add("x_engine")
    whole = msgspec.to_builtins(chat)
    body = {k: v for k, v in whole.items() if k in wanted and v not in (None, [], ())}
    return body if request.may_call or not request.tools else {**body, "tool_choice": "none"}


class Reader:
    """Chunks of one stream to backend events."""

    def __init__(self, name: str, ours: bool) -> None:
        self._name = name
        self._ours = ours
        self._calls: set[int] = set()
        self._reason = ""
        self._usage = Usage()
        self._timings = Timings()
        self._tokens = 0

    def read(self, datum: bytes) -> Iterator[base.BackendEvent]:
        try:
            chunk = _chunks.decode(datum)
        except ValueError as error:  # no JSON, of other types, or not even text
            raise BackendError("bad_chunk", f"{self._name}: {error}", retryable=True) from error
        if bytes(chunk.error) not in (b"", b"null"):
            body = b'{"error":' + bytes(chunk.error) + b"}"
            raise wire.error_of(body, 0, self._name, ours=self._ours)
        if chunk.x_engine is not None:
            yield from self._extra(chunk.x_engine)
        if chunk.usage is not None:
            self._usage = chunk.usage.usage()
        for choice in chunk.choices or ():
            delta = choice.delta or choice.message
            if delta is not None:
                yield from self._delta(delta)
            self._reason = choice.finish_reason or self._reason

    def finished(self) -> base.Finished:
        """Raises BackendError when the stream broke off or the endpoint gave it up."""
        if not self._reason:
            raise BackendError(
                "no_finish", f"{self._name}: the reply broke off", "try again", retryable=True
            )
        if self._reason == "abort":
            raise BackendError(
                "aborted", f"{self._name} gave up the reply", "resume", retryable=True
            )
        return base.Finished(self._reason, self._usage, self._timings)

    def _extra(self, extra: ChunkExtra) -> Iterator[base.BackendEvent]:
        self._tokens += len(extra.tokens)
        if extra.timings is not None:
            self._timings = extra.timings
        if extra.prompt is not None:
            yield base.PromptRendered(extra.prompt, extra.prompt_tokens or 0)
        if extra.progress is not None:
            progress = extra.progress
            yield base.Prefill(progress.done, progress.total, progress.seconds_left)
        if extra.problem is not None:
            yield base.Problem(extra.problem.code, extra.problem.message)

    def _delta(self, delta: _Delta) -> Iterator[base.BackendEvent]:
        thought = delta.reasoning_content or delta.reasoning
        if thought:
            yield base.ReasoningDelta(thought, self._take_tokens())
        if delta.content:
            yield base.TextDelta(delta.content, self._take_tokens())
        for call in delta.tool_calls or ():
            yield from self._call(call)

    def _call(self, call: _Call) -> Iterator[base.BackendEvent]:
        function = call.function or _Function()
        index = call.index
        if index is None:  # some servers number nothing: a name begins another call
            index = max(self._calls, default=-1) + bool(function.name or not self._calls)
        if index not in self._calls:
            if function.name is None:
                raise BackendError(
                    "bad_chunk", f"{self._name}: a tool call without a name", retryable=True
                )
            self._calls.add(index)
            # A call of nothing is the model's to mend: it hears that there is no such tool.
            yield base.CallBegin(index, call.id or "", function.name or "unnamed")
        if function.arguments:
            yield base.CallDelta(index, function.arguments, self._take_tokens())

    def _take_tokens(self) -> int:
        """Tokens since the last delta; text held back while it was unclear what it is counts."""
        tokens, self._tokens = self._tokens, 0
        return tokens
