"""Every struct that crosses the engine's HTTP boundary; the only engine module ``app`` imports.

OpenAI's chat-completions form, with our additions under ``x_engine`` only. Ordering on a stream:
optional ``x_engine.progress`` chunks (prefill), then deltas, then one chunk with
``finish_reason``, then one chunk with ``usage`` and ``x_engine.timings``, then ``[DONE]``.
A failure after the head was sent is a chunk with ``error`` instead, then ``[DONE]``.

Unknown fields are ignored on input. ``PROTOCOL`` is checked when a client says hello.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

PROTOCOL = 1

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "abort"]
LoadState = Literal["empty", "loading", "ready", "failed"]


class FunctionCall(msgspec.Struct, frozen=True):
    name: str
    arguments: str
    """JSON text exactly as the model wrote it."""


class ToolCall(msgspec.Struct, frozen=True):
    id: str
    function: FunctionCall
    type: Literal["function"] = "function"


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    role: Role
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


class FunctionSpec(msgspec.Struct, frozen=True):
    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    """A JSON Schema of type object."""


class ToolSpec(msgspec.Struct, frozen=True):
    function: FunctionSpec
    type: Literal["function"] = "function"


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool = True


class EngineOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Our additions to a request, under ``x_engine``."""

    request_id: str | None = None
    """Chosen by the client so that it can abort before the first byte arrives."""
    return_prompt: bool = False
    """Send the rendered prompt and its token count in the first chunk."""
    return_tokens: bool = False
    """Send token ids (and log-probabilities when asked for) beside each delta."""


class ChatRequest(msgspec.Struct, frozen=True):
    """``POST /v1/chat/completions``. None means: the checkpoint's generation_config decides."""

    messages: tuple[ChatMessage, ...]
    model: str = ""
    tools: tuple[ToolSpec, ...] = ()
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    stop: str | tuple[str, ...] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    n: int = 1
    x_engine: EngineOptions = EngineOptions()


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: int = 0


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


class ModelCard(msgspec.Struct, frozen=True):
    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = "selenograph"
    context_length: int = 0


class ModelList(msgspec.Struct, frozen=True):
    data: tuple[ModelCard, ...]
    object: str = "list"


class Ready(msgspec.Struct, frozen=True):
    """The one JSON line the engine prints when it listens."""

    port: int
    pid: int
    protocol: int = PROTOCOL


class LoadRequest(msgspec.Struct, frozen=True):
    """``POST /engine/load``."""

    path: str
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    experts: Literal["auto", "native", "reference"] = "auto"
    threads: int = 0
    """0: one per physical core."""
    max_context: int = 0
    """0: what the checkpoint allows."""


class EngineStatus(msgspec.Struct, frozen=True):
    """``GET /engine/status`` and the data of ``status`` on ``/engine/events``."""

    protocol: int
    version: str
    pid: int
    state: LoadState
    uptime_s: float = 0.0
    model: str | None = None
    model_path: str | None = None
    family: str | None = None
    fingerprint: str | None = None
    dtype: str | None = None
    experts: str | None = None
    """Which expert backend serves, e.g. ``native avx2`` or ``reference``."""
    threads: int = 0
    context_length: int = 0
    load_progress: float | None = None
    """0 to 1 while loading."""
    error: ErrorBody | None = None
    running: int = 0
    waiting: int = 0
    resident_bytes: int = 0
    prefill_tokens_per_s: float = 0.0
    decode_tokens_per_s: float = 0.0
    cached_tokens: int = 0


class EngineEvent(msgspec.Struct, frozen=True):
    """One item of ``GET /engine/events`` (SSE): on each change and about once a second."""

    kind: Literal["status"]
    status: EngineStatus


class InspectRequest(msgspec.Struct, frozen=True):
    """``POST /engine/inspect``."""

    path: str


class FolderProblem(msgspec.Struct, frozen=True):
    """Something wrong with a checkpoint folder; ``count`` more of the same kind were left out."""

    code: str
    message: str
    hint: str = ""
    more: int = 0


class FolderReport(msgspec.Struct, frozen=True):
    """What is in a folder, without loading it. Bytes on disk; parameters as the model counts."""

    path: str
    complete: bool
    """Whether the engine can load it."""
    family: str | None = None
    layers: int = 0
    routed_experts: int = 0
    experts_per_token: int = 0
    context_length: int = 0
    parameters: int = 0
    active_parameters: float = 0
    bytes_by_part: dict[str, int] = {}
    shards: int = 0
    total_bytes: int = 0
    expert_format: str = ""
    tokenizer: bool = False
    chat_template: bool = False
    problems: tuple[FolderProblem, ...] = ()
