"""Chat completions as a client sees them: whole ones, and streams with the time of each token."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import msgspec

from engine.errors import ResourceError
from engine.protocol import (
    ChatChunk,
    ChatMessage,
    ChatReply,
    ErrorBody,
    ErrorReply,
    FinishReason,
    Progress,
    Usage,
)

_PATH = "/v1/chat/completions"


def user(text: str) -> ChatMessage:
    """What a person says."""
    return ChatMessage("user", text)


def body(messages: Sequence[ChatMessage], **fields: Any) -> bytes:
    """A request; greedy, and with token ids in the reply, unless told otherwise."""
    asked = {"messages": messages, "temperature": 0.0, "x_engine": {"return_tokens": True}}
    return msgspec.json.encode(asked | fields)


def streamed(messages: Sequence[ChatMessage], **fields: Any) -> bytes:
    """A request for a stream, sampled freely unless told otherwise."""
    return body(messages, **({"stream": True, "temperature": 1.0} | fields))


def ask(http: httpx2.Client, messages: Sequence[ChatMessage], **fields: Any) -> ChatReply:
    """A whole reply. Raises ResourceError ``bench_failed``."""
    reply = http.post(_PATH, content=body(messages, **fields))
    if reply.status_code != 200:
        error = msgspec.json.decode(reply.content, type=ErrorReply).error
        raise ResourceError("bench_failed", f"the engine said {error.code}: {error.message}")
    return msgspec.json.decode(reply.content, type=ChatReply)


@dataclass(slots=True)
class Stream:
    """One streamed reply, filled while it comes. Times in seconds of time.perf_counter."""

    sent: float = 0.0
    status: int = 0
    """Of HTTP; 0 while nothing has come."""
    times: list[float] = field(default_factory=list)
    """When each token came."""
    text: str = ""
    """Reasoning and answer."""
    progress: Progress | None = None
    finish: FinishReason | None = None
    usage: Usage | None = None
    error: ErrorBody | None = None
    done: bool = False
    """``[DONE]`` has come."""

    @property
    def gaps(self) -> list[float]:
        """Seconds between tokens."""
        return [b - a for a, b in zip(self.times, self.times[1:], strict=False)]

    def take(self, line: str) -> None:
        """One line of the stream."""
        if not line.startswith("data: "):
            return
        if line == "data: [DONE]":
            self.done = True
            return
        chunk = msgspec.json.decode(line[6:], type=ChatChunk)
        extra = chunk.x_engine
        if extra is not None:
            self.times += [time.perf_counter()] * len(extra.tokens)
            self.progress = extra.progress or self.progress
        for choice in chunk.choices:
            self.text += (choice.delta.reasoning_content or "") + (choice.delta.content or "")
            self.finish = choice.finish_reason or self.finish
        self.usage = chunk.usage or self.usage
        self.error = chunk.error or self.error


async def stream(
    http: httpx2.AsyncClient,
    content: bytes,
    into: Stream | None = None,
    enough: Callable[[Stream], bool] = lambda seen: False,
) -> Stream:
    """Read a reply to its end, or leave as soon as it is `enough`."""
    seen = into or Stream()
    seen.sent = time.perf_counter()
    async with http.stream("POST", _PATH, content=content) as reply:
        seen.status = reply.status_code
        if reply.status_code != 200:
            seen.error = msgspec.json.decode(await reply.aread(), type=ErrorReply).error
            return seen
        async for line in reply.aiter_lines():
            seen.take(line)
            if enough(seen):
                break
    return seen
