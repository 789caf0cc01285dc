"""What comes back: a reply, whole or in chunks, what it took, or what went wrong."""

from __future__ import annotations

from typing import Literal

import msgspec

from engine.protocol.chat import ChatMessage, Role

FinishReason = Literal["stop", "length", "tool_calls", "abort"]


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: int = 0
    accepted_prediction_tokens: int = 0
    """Tokens of the reply that were drafted and found right."""
    rejected_prediction_tokens: int = 0
    """Drafted tokens that were computed in vain."""


class PromptTokensDetails(msgspec.Struct, frozen=True):
    cached_tokens: int = 0


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptTokensDetails = PromptTokensDetails()
    completion_tokens_details: CompletionTokensDetails = CompletionTokensDetails()


class Timings(msgspec.Struct, frozen=True):
    """Wall times of one request, milliseconds; speeds in tokens per second."""

    queue_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    prefill_tokens_per_s: float = 0.0
    decode_tokens_per_s: float = 0.0


class Progress(msgspec.Struct, frozen=True):
    """Prefill progress: prompt tokens done of total, and the estimate of what is left."""

    done: int
    total: int
    seconds_left: float | None = None


class TokenInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    id: int
    text: str
    logprob: float | None = None
    top: tuple[tuple[int, str, float], ...] = ()
    """Alternatives as (id, text, logprob), best first."""


class FormatProblem(msgspec.Struct, frozen=True):
    """Something the model wrote outside its format, repaired or reported."""

    code: str
    message: str


class ChunkExtra(msgspec.Struct, frozen=True, omit_defaults=True):
    """``x_engine`` of a stream chunk or of a whole reply."""

    request_id: str | None = None
    prompt: str | None = None
    prompt_tokens: int | None = None
    progress: Progress | None = None
    tokens: tuple[TokenInfo, ...] = ()
    problem: FormatProblem | None = None
    timings: Timings | None = None


class FunctionDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str | None = None
    arguments: str | None = None


class ToolCallDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionDelta | None = None


class Delta(msgspec.Struct, frozen=True, omit_defaults=True):
    role: Role | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] = ()


class TokenLogprob(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top_logprobs: tuple[TokenLogprob, ...] = ()


class Logprobs(msgspec.Struct, frozen=True):
    content: tuple[TokenLogprob, ...] = ()


class ChunkChoice(msgspec.Struct, frozen=True):
    delta: Delta
    index: int = 0
    finish_reason: FinishReason | None = None
    logprobs: Logprobs | None = None


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """OpenAI's error object; ``type`` is the kind in :mod:`engine.errors`."""

    message: str
    type: str
    code: str
    hint: str = ""
    retryable: bool = False


class ErrorReply(msgspec.Struct, frozen=True):
    error: ErrorBody


class ChatChunk(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    """Always sent: clients go through it without looking whether it is there."""
    object: str = msgspec.field(default_factory=lambda: "chat.completion.chunk")  # never omitted
    usage: Usage | None = None
    x_engine: ChunkExtra | None = None
    error: ErrorBody | None = None


class Choice(msgspec.Struct, frozen=True):
    message: ChatMessage
    index: int = 0
    finish_reason: FinishReason = "stop"
    logprobs: Logprobs | None = None


class ChatReply(msgspec.Struct, frozen=True):
    id: str
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: Usage
    object: str = "chat.completion"
    x_engine: ChunkExtra | None = None
