"""What is asked: a conversation, its tools, and how the reply is to be written."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
Natural = Annotated[int, msgspec.Meta(ge=0)]
Priority = Literal["interactive", "background"]
"""Interactive requests go first."""


class FunctionCall(msgspec.Struct, frozen=True):
    name: str
    arguments: str
    """JSON text exactly as the model wrote it."""


def canonical_arguments(arguments: str) -> str:
    """Of a call: the same for all spellings that differ in spacing and in the order of keys."""
    try:
        return json.dumps(_spaced(json.loads(arguments or "{}")), sort_keys=True)
    except (ValueError, RecursionError):
        return " ".join(arguments.split())


def _spaced(value: object) -> object:
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, list):
        return [_spaced(one) for one in value]
    if isinstance(value, dict):
        return {name: _spaced(one) for name, one in value.items()}
    return value


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
    reasoning_seal: str | None = None
    """Another endpoint's, without which it does not take its reasoning back; not for engines."""


class FunctionSpec(msgspec.Struct, frozen=True):
    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    """A JSON Schema of type object."""
    strict: bool | msgspec.UnsetType | None = msgspec.UNSET
    """Whether a schema that cannot be enforced in full is an error. The model is not told."""


class ToolSpec(msgspec.Struct, frozen=True):
    function: FunctionSpec
    type: Literal["function"] = "function"


class ToolName(msgspec.Struct, frozen=True):
    name: str


class NamedTool(msgspec.Struct, frozen=True):
    """``tool_choice``: exactly one call, of this tool."""

    function: ToolName
    type: Literal["function"] = "function"


ToolChoice = Literal["none", "auto", "required"] | NamedTool


class AnswerSchema(msgspec.Struct, frozen=True):
    """A JSON Schema for the answer; ``strict`` as in :class:`FunctionSpec`."""

    name: str
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class ResponseFormat(msgspec.Struct, frozen=True):
    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: AnswerSchema | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool = True


class EngineOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Our additions to a request, under ``x_engine``."""

    request_id: str | None = None
    """Chosen by the client so that it can abort before the first byte arrives."""
    return_prompt: bool = False
    """Send the rendered prompt and its token count in the first chunk."""
    thinking_budget: Natural | None = None
    """Reasoning tokens after which the reasoning is closed; None: no limit."""
    return_tokens: bool = False
    """Send token ids (and log-probabilities when asked for) beside each delta."""
    speculate: bool = True
    """Whether tokens may be drafted, where the engine drafts at all; the reply is the same."""
    constrain: bool = True
    """Whether calls, and answers with a ``response_format``, are held to their grammars."""
    forbidden: tuple[FunctionCall, ...] = ()
    """Calls that may not be made; compared by :func:`canonical_arguments`."""
    priority: Priority = "interactive"
    deadline_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """Seconds from its arrival after which the request ends with ``deadline_exceeded``."""


class ChatRequest(msgspec.Struct, frozen=True):
    """``POST /v1/chat/completions``. None means: the checkpoint's generation_config decides."""

    messages: tuple[ChatMessage, ...]
    model: str = ""
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice | None = None
    """None: ``auto`` where there are tools."""
    parallel_tool_calls: bool = True
    """Whether a reply may hold more than one call."""
    response_format: ResponseFormat | None = None
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
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    """Other than 1 and 0 these are refused."""
    x_engine: EngineOptions = EngineOptions()


class TokenizeRequest(msgspec.Struct, frozen=True):
    """``POST /tokenize``: how long texts are. Marker text counts as the text it is."""

    texts: tuple[str, ...]


class TokenizeReply(msgspec.Struct, frozen=True):
    counts: tuple[int, ...]
    context_length: int
