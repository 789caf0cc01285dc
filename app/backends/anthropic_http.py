"""Any endpoint that speaks Anthropic's messages API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Literal

import httpx2
import msgspec

from app.backends import base, wire
from app.backends.anthropic_form import system_and_messages, tool_list
from app.backends.leaks import parsed
from app.errors import BackendError
from engine.protocol import CompletionTokensDetails, PromptTokensDetails, Usage

VERSION = "2023-06-01"
LONGEST_REPLY = 32_000
"""Tokens; the protocol wants a limit with every request."""
LEAST_THINKING = 1_024
"""Tokens; the protocol takes no smaller limit of thinking."""
_ANSWER = 1_024
"""Tokens of a reply that thinking must leave."""

Thinking = Literal["budget", "adaptive", "off"]

_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
}

# What endpoints send, leniently: anything may be null or missing.


class _Usage(msgspec.Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Message(msgspec.Struct, frozen=True):
    usage: _Usage | None = None


class _Block(msgspec.Struct, frozen=True):
    type: str | None = None
    id: str | None = None
    name: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    input: Any = None


class _Delta(msgspec.Struct, frozen=True):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Event(msgspec.Struct, frozen=True):
    type: str | None = None
    index: int | None = None
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw()
    content: tuple[_Block, ...] | None = None
    """Of a whole message, from servers that do not stream."""
    stop_reason: str | None = None


_events: msgspec.json.Decoder[_Event] = msgspec.json.Decoder(_Event)


class AnthropicBackend:
    """One endpoint. ``base_url`` with or without ``/v1``."""

    def __init__(
        self, base_url: str, key: str, name: str, thinking: Thinking = "budget", longest: int = 0
    ) -> None:
        """``longest``: tokens of a reply where the run says nothing; 0: ``LONGEST_REPLY``."""
        self._name = name
        self._key = key
        self._thinking: Thinking = thinking
        self._longest = longest or LONGEST_REPLY
        self.traits = base.Traits()
        root = base_url.rstrip("/").removesuffix("/messages").removesuffix("/v1")
        headers = {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})}
        self._origin = httpx2.URL(root).host or "here"
        self._client = wire.client(f"{root}/v1", key, ours=False, headers=headers)

    @property
    def name(self) -> str:
        return self._name

    def stream(self, request: base.ModelRequest) -> AsyncIterator[base.BackendEvent]:
        return parsed(self._stream(request))

    async def _stream(self, request: base.ModelRequest) -> AsyncIterator[base.BackendEvent]:
        reader = _Reader(self._name, self._origin)
        signs = wire.Signs()
        body = msgspec.json.encode(self._body(request))
        with wire.typed(self._name, ours=False, key=self._key):
            async with self._client.stream(
                "POST",
                "messages",
                content=body,
                headers={"Content-Type": "application/json", "Accept": "text/event-stream"},
            ) as response:
                await wire.check(response, self._name, ours=False)
                async with aclosing(wire.events(response, signs)) as data:
                    async for datum in data:
                        for event in reader.read(datum):
                            signs.came()
                            yield event
                        if reader.ended:
                            break
        yield reader.finished()

    async def count(self, texts: Sequence[str]) -> tuple[int, ...] | None:
        """None: the protocol counts whole requests only."""
        return None

    async def probe(self) -> None:
        await wire.probe(self._client, self._name, ours=False, key=self._key)

    async def models(self) -> tuple[str, ...]:
        return await wire.models(self._client, self._name, self._key, "models?limit=1000")

    async def close(self) -> None:
        await self._client.aclose()

    def _body(self, request: base.ModelRequest) -> dict[str, Any]:
        sampling = request.sampling
        thinks = self._thinking != "off" and request.thinking != 0
        seals = self._origin if thinks else ""
        system, messages, whole = system_and_messages(request.messages, seals)
        if not whole:
            thinks = False
            system, messages, _ = system_and_messages(request.messages, "")
        body: dict[str, Any] = {
            "model": request.model,
            "max_tokens": sampling.max_tokens or self._longest,
            "messages": messages,
            "stream": True,
        }
        if system:
            body["system"] = system
        if request.tools:
            body["tools"] = tool_list(request.tools)
            body["tool_choice"] = {"type": "auto" if request.may_call else "none"}
        if thinks and self._think(body, request.thinking):
            return body
        if sampling.temperature is not None:
            body["temperature"] = min(sampling.temperature, 1.0)
        if sampling.top_p is not None:
            body["top_p"] = sampling.top_p
        return body

    def _think(self, body: dict[str, Any], budget: int | None) -> bool:
        """Whether the request now asks for thinking; then it may say nothing of sampling."""
        if self._thinking == "adaptive":
            body["thinking"] = {"type": "adaptive"}
            return True
        room = body["max_tokens"] - _ANSWER
        tokens = min(room, budget) if budget else room
        if tokens < LEAST_THINKING:
            return False
        body["thinking"] = {"type": "enabled", "budget_tokens": tokens}
        return True


class _Reader:
    """Events of one stream to backend events."""

    def __init__(self, name: str, origin: str) -> None:
        """``origin`` is noted in seals, for they are good at the endpoint that made them."""
        self._name = name
        self._origin = origin
        self._thinks = False
        self._signature = ""
        self._blocks: dict[int, str] = {}
        self._written: set[int] = set()
        self._reason = ""
        self._usage = _Usage()
        self.ended = False

    def read(self, datum: bytes) -> Iterator[base.BackendEvent]:
        """Raises BackendError."""
        try:
            event = _events.decode(datum)
        except ValueError as error:  # no JSON, of other types, or not even text
            raise BackendError("bad_chunk", f"{self._name}: {error}", retryable=True) from error
        if bytes(event.error) not in (b"", b"null"):
            body = b'{"error":' + bytes(event.error) + b"}"
            raise wire.error_of(body, 0, self._name, ours=False)
        self._count(event.message.usage if event.message else None)
        self._count(event.usage)
        if event.content is not None:
            yield from self._whole(event.content)
        if event.content_block is not None:
            yield from self._begin(self._index(event), event.content_block)
        if event.type == "content_block_stop":
            yield from self._seal()
        if event.delta is not None:
            self._reason = event.delta.stop_reason or self._reason
            yield from self._delta(event)
        self._reason = event.stop_reason or self._reason
        self.ended = event.type == "message_stop"

    def finished(self) -> base.Finished:
        """Raises BackendError when the stream broke off or the endpoint would not answer."""
        if not self._reason:
            raise BackendError(
                "no_finish", f"{self._name}: the reply broke off", "try again", retryable=True
            )
        if self._reason == "refusal":
            raise BackendError(
                "refused", f"{self._name}: the model declined to answer", "ask differently"
            )
        usage = self._usage
        cached = wire.tokens(usage.cache_read_input_tokens)
        fresh = wire.tokens(usage.input_tokens) + wire.tokens(usage.cache_creation_input_tokens)
        prompt, completion = fresh + cached, wire.tokens(usage.output_tokens)
        told = Usage(
            prompt,
            completion,
            prompt + completion,
            PromptTokensDetails(cached),
            CompletionTokensDetails(),
        )
        return base.Finished(_REASONS.get(self._reason, self._reason), told)

    def _count(self, usage: _Usage | None) -> None:
        """Later numbers are the whole, not more; some are told only once."""
        if usage is None:
            return
        told = {
            name: value
            for name in usage.__struct_fields__
            if (value := getattr(usage, name)) is not None
        }
        self._usage = msgspec.structs.replace(self._usage, **told)

    def _index(self, event: _Event) -> int:
        return event.index if event.index is not None else max(self._blocks, default=-1)

    def _whole(self, blocks: tuple[_Block, ...]) -> Iterator[base.BackendEvent]:
        for index, block in enumerate(blocks, max(self._blocks, default=-1) + 1):
            yield from self._begin(index, block)

    def _begin(self, index: int, block: _Block) -> Iterator[base.BackendEvent]:
        kind = block.type or "text"
        yield from self._seal()
        self._blocks[index] = kind
        self._thinks = kind == "thinking"
        self._signature = block.signature or ""
        if block.thinking:
            yield base.ReasoningDelta(block.thinking)
        if block.text:
            yield base.TextDelta(block.text)
        if kind == "tool_use":
            if not block.name:
                raise BackendError(
                    "bad_chunk", f"{self._name}: a tool call without a name", retryable=True
                )
            yield base.CallBegin(index, block.id or "", block.name)
            if block.input:
                self._written.add(index)
                yield base.CallDelta(index, msgspec.json.encode(block.input).decode())

    def _seal(self) -> Iterator[base.BackendEvent]:
        """What ends a thought: some servers sign nothing and want it back all the same."""
        if self._thinks:
            yield base.ReasoningSeal(f"{self._origin} {self._signature}")
        self._thinks = False

    def _delta(self, event: _Event) -> Iterator[base.BackendEvent]:
        delta, index = event.delta, self._index(event)
        assert delta is not None
        if delta.thinking:
            yield base.ReasoningDelta(delta.thinking)
        self._signature += delta.signature or ""
        if delta.text:
            yield base.TextDelta(delta.text)
        if delta.partial_json:
            if self._blocks.get(index) != "tool_use":
                raise BackendError(
                    "bad_chunk", f"{self._name}: arguments outside of a call", retryable=True
                )
            if index not in self._written:
                yield base.CallDelta(index, delta.partial_json)
