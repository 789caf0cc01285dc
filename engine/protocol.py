"""Every struct that crosses the engine's HTTP boundary; the only engine module ``app`` imports.

OpenAI's chat-completions form, with our additions under ``x_engine`` only. Ordering on a stream:
optional ``x_engine.progress`` chunks (prefill), then deltas, then one chunk with
``finish_reason``, then one chunk with ``usage`` and ``x_engine.timings``, then ``[DONE]``.
A failure after the head was sent is a chunk with ``error`` instead, then ``[DONE]``.

Unknown fields are ignored on input. ``PROTOCOL`` is checked when a client says hello.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec

PROTOCOL = 1

Role = Literal["system", "user", "assistant", "tool"]
Natural = Annotated[int, msgspec.Meta(ge=0)]
FinishReason = Literal["stop", "length", "tool_calls", "abort"]
LoadState = Literal["empty", "loading", "ready", "failed"]
Priority = Literal["interactive", "background"]
"""Interactive requests go first."""
Tier = Literal["gpu", "ram", "mapped"]
"""Where an expert is: on the accelerator, held in memory, or mapped from its file."""
HeatWindow = Literal["start", "minute"]


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

    name: str = "answer"
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
    x_engine: EngineOptions = EngineOptions()


class TokenizeRequest(msgspec.Struct, frozen=True):
    """``POST /tokenize``: how long texts are. Marker text counts as the text it is."""

    texts: tuple[str, ...]


class TokenizeReply(msgspec.Struct, frozen=True):
    counts: tuple[int, ...]
    context_length: int


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


class SnapshotOptions(msgspec.Struct, frozen=True):
    """Where pages of the KV cache are kept for the next start."""

    folder: str
    max_bytes: Natural = 0
    """Of all models together; 0: 20 GiB, or a tenth of what is free on the disk."""


class LoadRequest(msgspec.Struct, frozen=True):
    """``POST /engine/load``."""

    path: str
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    experts: Literal["auto", "native", "reference"] = "auto"
    threads: int = 0
    """0: one per physical core."""
    max_context: int = 0
    """0: what the checkpoint allows."""
    device: Literal["auto", "cpu", "thread"] = "auto"
    """Who computes beside the expert pool: the accelerator if there is one, nobody, or a thread."""
    expert_memory_bytes: Natural = 0
    """How much memory routed experts may take; 0: as the system sees fit."""
    expert_policy: Literal["lfu", "lru"] = "lfu"
    """Which experts leave memory first when that is short."""
    read_ahead: Literal["auto", "on", "off"] = "auto"
    """Whether the next layer's likely experts are read early; auto: with 8 cores or more."""
    hot_experts: Natural | None = None
    """Experts on the accelerator; None: as many as fit."""
    deferred_experts: Natural = 0
    """Of each token, the lightest that join one layer later: quicker, and a little different."""
    stream_from: Natural | None = None
    """Prompt tokens from which expert weights stream to the accelerator; 0: never, None: from where
    the planner finds it faster on this machine."""
    isa: str = "auto"
    """Instruction set of the native kernels; ``auto``: the best of this processor."""
    mode: Literal["auto", "exact", "fast"] = "auto"
    """Activations of INT4 experts in float32 or INT8; ``auto``: by the model's size."""
    dense: Literal["auto", "published", "int8", "int4"] = "auto"
    """Form of everything but routed experts where there is no accelerator."""
    speculation: Literal["auto", "mtp", "off"] = "auto"
    """Whether tokens are drafted and checked many at once, where that is measured to pay; ``mtp``
    also by the checkpoint's layer for multi-token prediction, where there is no accelerator."""
    cache_bytes: Natural = 0
    """Of the KV cache; 0: a full context, at least 1 GiB, at most half of what is free."""
    cache_form: Literal["auto", "float32", "bf16", "int8"] = "auto"
    """How the KV cache keeps latents; auto: as the model computes. int8: about half of bf16."""
    snapshots: SnapshotOptions | None = None
    """None: nothing of a conversation is written to disk."""


class TierUse(msgspec.Struct, frozen=True):
    """One tier: the routed experts in it, and how often they were chosen since the load."""

    tier: Tier
    experts: int = 0
    bytes: int = 0
    hits: int = 0


Outcome = Literal["done", "aborted", "failed"]
STEP_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds by which steps are counted; longer ones come last."""


class Counters(msgspec.Struct, frozen=True):
    """What was done since the load; of requests that ended as they should, but for the steps."""

    done: int = 0
    aborted: int = 0
    failed: int = 0
    preemptions: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompts' tokens those that others had computed."""
    computed_tokens: int = 0
    """Of all steps: prompts, replies and drafts."""
    written_tokens: int = 0
    accepted_drafts: int = 0
    rejected_drafts: int = 0
    step_seconds: float = 0.0
    steps: tuple[int, ...] = ()
    """By :data:`STEP_SECONDS`."""


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
    running_background: int = 0
    """Of those that run; the rest are interactive."""
    waiting_background: int = 0
    prefilling: int = 0
    """Of those that run: whose prompts are not computed yet."""
    counters: Counters = Counters()
    resident_bytes: int = 0
    prefill_tokens_per_s: float = 0.0
    decode_tokens_per_s: float = 0.0
    cached_tokens: int = 0
    """Tokens in the prefix tree, whether or not a sequence holds them."""
    held_pages: int = 0
    """Pages of the KV cache that sequences hold: none while nothing runs."""
    cancelled: int = 0
    """Requests that were stopped since the load."""
    cancel_steps_p99: int = 0
    """Steps between the order to stop and free pages, 99th percentile of the last 1,024."""
    cache_pages: int = 0
    """Of 64 tokens each."""
    cache_pages_used: int = 0
    """By sequences, or for what may be asked next."""
    cache_bytes: int = 0
    """Of all pages. On a processor what was never used takes no memory."""
    cache_form: str | None = None
    spilled_pages: int = 0
    """That left a device and are kept in memory."""
    snapshot_pages: int = 0
    """On disk, of all models."""
    snapshot_bytes: int = 0
    snapshot_error: str | None = None
    """Why no more pages are written to disk."""
    bound_prefill_tokens_per_s: float = 0.0
    """What the processor's arithmetic allows for this model; 0: not known."""
    bound_decode_tokens_per_s: float = 0.0
    """What reading a token's weights from memory allows for this model; 0: not known."""
    memory_total_bytes: int = 0
    gpu_bytes: int = 0
    gpu_total_bytes: int = 0
    routed_tokens: int = 0
    """Tokens that went through the routers since the load."""
    tiers: tuple[TierUse, ...] = ()
    prediction_hit_rate: float | None = None
    """Of the mapped experts that were needed, the share that had been read ahead; 0 to 1."""


class EngineEvent(msgspec.Struct, frozen=True):
    """One item of ``GET /engine/events`` (SSE): on each change and about once a second."""

    kind: Literal["status"]
    status: EngineStatus


class ExpertHeat(msgspec.Struct, frozen=True):
    """How often each routed expert was chosen. The counts add up to tokens x top_k x layers."""

    layers: tuple[int, ...]
    """The model's layer of each row."""
    experts: int
    top_k: int
    tokens: int
    seconds: float
    """The time that is covered."""
    counts: bytes
    """uint32, little-endian, row by row: [layers, experts]. Base64 on the wire."""


class PlacementMap(msgspec.Struct, frozen=True):
    """The tier of each routed expert."""

    layers: tuple[int, ...]
    """The model's layer of each row."""
    experts: int
    rows: tuple[str, ...]
    """Run-length coded in the order of the experts, e.g. ``12G300R72M``; G GPU, R RAM, M mapped."""


class ExpertReport(msgspec.Struct, frozen=True):
    """``GET /engine/experts?window=start`` (or ``minute``). Parts are None without a model."""

    window: HeatWindow = "start"
    began: float = 0.0
    """Unix time at which counting began; another value means another load."""
    heat: ExpertHeat | None = None
    placement: PlacementMap | None = None


class RequestTrace(msgspec.Struct, frozen=True):
    """``GET /engine/trace/{id}``: the experts of one request; the last few requests are kept."""

    id: str
    running: bool
    heat: ExpertHeat


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


Verdict = Literal["runs well", "runs slowly", "does not fit"]
WeightForm = Literal["float32", "bf16", "fp8", "int8", "int4"]
"""How matrices are held: int8 and int4 in groups of 32 with a bf16 scale, fp8 in blocks of 128x128
with a float32 scale."""
Cause = Literal["memory", "processor", "disk", "accelerator", "bus", "overhead"]
"""What bounds a speed: reading memory, arithmetic of the processor, and so on."""


class PlanRequest(msgspec.Struct, frozen=True):
    """``POST /engine/plan``: what a model would do on a machine."""

    model: str
    """A checkpoint folder, or the name of a shape in ``resources/shapes``."""
    hardware: str = ""
    """Empty: this machine, measured. Else a file, or a name in ``resources/hardware``."""
    context: int = 0
    """Tokens that the cache should hold; 0: 32,768, or what the model allows."""
    experts: WeightForm | None = None
    """Plan as if the routed experts were converted; None: as they are stored."""
    dense: WeightForm | None = None
    """Precision of everything else; None: the best that fits."""


class LayerPlan(msgspec.Struct, frozen=True):
    """One layer: where its dense part is computed, and how many routed experts are in each tier."""

    dense_on: Literal["cpu", "gpu"]
    gpu: int = 0
    ram: int = 0
    mapped: int = 0


class TierPlan(msgspec.Struct, frozen=True):
    """What a tier holds, in bytes by part. ``usable`` is 0 where there is no limit (mapped)."""

    tier: Tier
    usable: int
    parts: dict[str, int]

    @property
    def used(self) -> int:
        return sum(self.parts.values())


class SpeedPlan(msgspec.Struct, frozen=True):
    """``tokens``: the length of the prompt, or of the context that is decoded after."""

    tokens: int
    tokens_per_s: float
    cause: Cause


class Placement(msgspec.Struct, frozen=True):
    """Where everything of a model goes on a machine, what comes of it, and why.

    With the verdict ``does not fit``, layers and tiers may be empty and all speeds missing.
    """

    verdict: Verdict
    expert_form: WeightForm
    why: tuple[str, ...]
    dense_on: Literal["cpu", "gpu"] = "cpu"
    dense_form: WeightForm = "bf16"
    threads: int = 0
    layers: tuple[LayerPlan, ...] = ()
    tiers: tuple[TierPlan, ...] = ()
    kv_tokens: int = 0
    kv_bytes: int = 0
    stream_from: int | None = None
    """Prompts of at least so many tokens are faster with experts streamed to the accelerator."""
    decode: tuple[SpeedPlan, ...] = ()
    """After a short context first, after a full one last."""
    prefill: tuple[SpeedPlan, ...] = ()
    """Of 512 tokens first, of the longest prompt that is planned for last."""
    ceiling_tokens_per_s: float = 0.0
    """Decoding if memory were read at its full rate and nothing else took time."""
    first_token_s: float = 0.0
    """After a prompt of 512 tokens."""
    turn_s: float = 0.0
    """A prompt of 1,024 tokens and a reply of 512."""
    load_s: float = 0.0
    """Until it answers, nothing being in memory before."""
    warm_s: float = 0.0
    """Until every expert that fits is in memory."""


class FamilyPlan(msgspec.Struct, frozen=True):
    """Another model of the family on the same machine."""

    name: str
    expert_form: WeightForm
    verdict: Verdict
    decode_tokens_per_s: float = 0.0
    first_token_s: float = 0.0


class PlanReport(msgspec.Struct, frozen=True):
    """``model`` on ``machine``."""

    model: str
    machine: str
    placement: Placement
    helps: tuple[str, ...] = ()
    """What would make it faster, best first."""
    family: tuple[FamilyPlan, ...] = ()
    """Other models that this machine could run, best first; empty where the model runs well."""
