"""What a model endpoint is: one streaming call, stateless."""

from __future__ import annotations

from collections.abc import AsyncIterator
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
class ModelRequest:
    """One model call, complete in itself."""

    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolSpec, ...] = ()
    model: str = ""
    sampling: Sampling = Sampling()
    request_id: str = ""


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

    def stream(self, request: ModelRequest) -> AsyncIterator[BackendEvent]:
        """Events in the order the model wrote them, ending in `Finished`.

        Closing the iterator stops the work at the other end. Raises RequestError (our request is
        wrong), BackendError (the endpoint answered with an error or nonsense), EngineLost.
        """

    async def close(self) -> None:
        """Free connections."""
