"""What a model endpoint is: one streaming call, stateless."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from engine.protocol import ChatMessage, Timings, ToolSpec, Usage


@dataclass(frozen=True, slots=True)
class Sampling:
    """None: the endpoint's own default."""

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Prices:
    """Per million tokens, in whatever currency; ``cached`` None: as ``prompt``."""

    prompt: float = 0.0
    completion: float = 0.0
    cached: float | None = None

    def cost(self, usage: Usage) -> float:
        """Of one call."""
        cached = usage.prompt_tokens_details.cached_tokens
        fresh = max(0, usage.prompt_tokens - cached)
        again = self.prompt if self.cached is None else self.cached
        return (
            fresh * self.prompt + cached * again + usage.completion_tokens * self.completion
        ) / 1e6


@dataclass(frozen=True, slots=True)
class Traits:
    """What an endpoint can do. ``context`` in tokens, 0: not known."""

    closes_reasoning: bool = False
    """It ends reasoning at a budget of its own accord, while decoding."""
    forbids_calls: bool = False
    """It keeps to `ModelRequest.forbidden` and to `ModelRequest.may_call`."""
    context: int = 0
    prices: Prices = Prices()
    model: str = ""
    """What is asked for where a run names no model."""
    marks: bool = True
    """It can be told by marks around a text that this is data. The embedded model learnt results
    without them and is told by one word.
    """


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model call, complete in itself."""

    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolSpec, ...] = ()
    model: str = ""
    sampling: Sampling = Sampling()
    request_id: str = ""
    may_call: bool = True
    """False: the tools are only told, so that the prompt begins as before. Not every endpoint
    keeps to it: a reply may hold calls all the same.
    """
    forbidden: tuple[tuple[str, str], ...] = ()
    """Calls, by name and arguments, that may not be made; for endpoints that can forbid calls."""
    thinking: int | None = None
    """Reasoning tokens after which the reasoning is to end; None: no limit."""


@dataclass(frozen=True, slots=True)
class PromptRendered:
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Prefill:
    done: int
    total: int
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    text: str
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class ReasoningSeal:
    """Ends a stretch of reasoning that the endpoint takes back only with this."""

    text: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class CallBegin:
    """A tool call starts; its arguments follow as `CallDelta` with the same index."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallDelta:
    index: int
    text: str
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """The model wrote something outside its format."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every stream that did not raise."""

    reason: str
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)


BackendEvent = (
    PromptRendered
    | Prefill
    | ReasoningDelta
    | ReasoningSeal
    | TextDelta
    | CallBegin
    | CallDelta
    | Problem
    | Finished
)


class Backend(Protocol):
    """A model endpoint. Runs on the core's event loop."""

    @property
    def name(self) -> str:
        """For the record, e.g. ``selenograph 0.1`` or the endpoint's address."""

    @property
    def traits(self) -> Traits:
        """What it can do, and what it costs."""

    def stream(self, request: ModelRequest) -> AsyncIterator[BackendEvent]:
        """Events in the order the model wrote them, ending in `Finished`.

        Closing the iterator stops the work at the other end. Raises RequestError (our request is
        wrong), BackendError (the endpoint answered with an error or nonsense), EngineLost.
        """

    async def count(self, texts: Sequence[str]) -> tuple[int, ...] | None:
        """Tokens of each text; None where the endpoint does not tell. Raises nothing."""

    async def probe(self) -> None:
        """Find out whether anybody answers, by something small. Returns at any answer that asking
        again would not change, a refusal too; raises a retryable error where there is none.
        """

    async def close(self) -> None:
        """Free connections."""


class Listed(Backend, Protocol):
    """An endpoint that can say which models it has."""

    async def models(self) -> tuple[str, ...]:
        """Their names, as requests name them. Raises BackendError."""
