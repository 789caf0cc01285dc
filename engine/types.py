"""What passes between the HTTP thread and the engine thread. No torch here.

Down: :class:`Request`. Up, through ``Request.sink``, in this order: :class:`Started`,
:class:`Prefilling`*, :class:`Wrote`*, then exactly one :class:`Ended` or :class:`Broke`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from engine.errors import SelenographError
from engine.grammar.rules import Grammars, Rules
from engine.protocol import (
    EngineStatus,
    ExpertReport,
    FinishReason,
    HeatWindow,
    LoadRequest,
    Priority,
    Progress,
    RequestTrace,
    Timings,
    TokenInfo,
    Usage,
)
from engine.text.chat_template import ChatTemplate, Prompt
from engine.text.pieces import Piece
from engine.text.tokenizer import Tokenizer
from engine.text.tool_call import ToolSpec


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """``temperature`` 0 is greedy; ``top_k`` 0 and ``top_p`` 1 and ``min_p`` 0 switch off."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    max_tokens: int = 0
    """Completion tokens at most; at least 1 when it reaches the engine."""
    logprobs: bool = False
    top_logprobs: int = 0


@dataclass(frozen=True, slots=True)
class Started:
    """Work on the prompt begins; ``cached_tokens`` of it are already in the cache, and more may
    come from the archive: the usage at the end says how many in all."""

    prompt_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Prefilling:
    progress: Progress


@dataclass(frozen=True, slots=True)
class Wrote:
    """What one sampled token completed; ``tokens`` only when asked for."""

    pieces: tuple[Piece, ...]
    tokens: tuple[TokenInfo, ...] = ()
    sampled: int = 1


@dataclass(frozen=True, slots=True)
class Ended:
    reason: FinishReason
    usage: Usage
    timings: Timings


@dataclass(frozen=True, slots=True)
class Broke:
    """The request failed; nothing follows."""

    error: SelenographError


Emission = Started | Prefilling | Wrote | Ended | Broke


@dataclass(frozen=True, slots=True)
class Request:
    """One chat completion, rendered and checked. ``sink`` is called on the engine thread."""

    id: str
    prompt: Prompt
    sampling: SamplingParams
    tools: tuple[ToolSpec, ...]
    sink: Callable[[Emission], None]
    return_tokens: bool = False
    speculate: bool = True
    """Whether tokens may be drafted, where the engine drafts at all."""
    thinking_budget: int | None = None
    """Reasoning tokens after which the reasoning is closed."""
    rules: Rules | None = None
    """What the reply may be; None: whatever the model writes."""
    created: float = field(default_factory=time.monotonic)
    priority: Priority = "interactive"
    deadline: float | None = None
    """As :func:`time.monotonic` tells it."""


@dataclass(frozen=True, slots=True)
class LoadedText:
    """What the HTTP side needs of the loaded model."""

    name: str
    path: Path
    tokenizer: Tokenizer
    template: ChatTemplate
    context_length: int
    defaults: SamplingParams
    created: int
    grammars: Grammars


class EngineHandle(Protocol):
    """The engine thread as the server sees it. Every method may be called from any thread."""

    def status(self) -> EngineStatus:
        """The present state."""

    def loaded(self) -> LoadedText | None:
        """The model that answers, if one is ready."""

    def experts(self, window: HeatWindow) -> ExpertReport:
        """Where the routed experts are and how often each was chosen."""

    def trace(self, request_id: str) -> RequestTrace | None:
        """The experts that one of the last requests chose."""

    def submit(self, request: Request) -> None:
        """Queue it. Raises QueueFull, ResourceError ``no_model``."""

    def abort(self, request_id: str) -> bool:
        """Stop a request before its next step; False if there is none of that id."""

    def load(self, request: LoadRequest) -> None:
        """Begin to load; running requests end with an error. Progress shows in the status."""

    def unload(self) -> None:
        """Free the model, or stop loading one."""

    def subscribe(self, listener: Callable[[EngineStatus], None]) -> Callable[[], None]:
        """Be told of status changes, on the engine thread; returns how to leave."""
