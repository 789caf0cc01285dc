"""A model call: what is sent, and what comes of it, part by part."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from engine.protocol import ChatMessage, Timings, ToolSpec, Usage

PartKind = Literal["reasoning", "text", "tool_call"]


class ModelCallBegin(msgspec.Struct, frozen=True, tag="model.begin"):
    """Exactly what is sent, so that a step can be run again.

    ``after`` names the step of an earlier call of the same turn: the first ``kept`` messages are
    that call's, and ``messages`` is what follows them; ``same_tools``: so are the tools. A long run
    would otherwise store its beginning again with every step.
    """

    backend: str
    model: str
    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolSpec, ...] = ()
    sampling: dict[str, Any] = {}
    after: str = ""
    kept: int = 0
    same_tools: bool = False


class ModelPrompt(msgspec.Struct, frozen=True, tag="model.prompt"):
    """The rendered prompt as the engine tokenised it, special tokens visible.

    With ``after``, its first ``kept`` characters are those of that step's prompt.
    """

    text: str
    tokens: int
    after: str = ""
    kept: int = 0


class PrefillProgress(msgspec.Struct, frozen=True, tag="model.progress"):
    """Published, never stored."""

    done: int
    total: int
    seconds_left: float | None = None


class PartBegin(msgspec.Struct, frozen=True, tag="part.begin"):
    part: str
    kind: PartKind
    call: str = ""
    """For ``tool_call``: the call id."""
    name: str = ""


class PartDelta(msgspec.Struct, frozen=True, tag="part.delta"):
    """Published, never stored. ``tokens`` counts what this text was sampled from, if known."""

    part: str
    text: str
    tokens: int = 0


class PartSnapshot(msgspec.Struct, frozen=True, tag="part.snapshot"):
    """Stored while a part is open (one row a part, replaced): the whole text so far."""

    part: str
    text: str
    tokens: int = 0


class PartEnd(msgspec.Struct, frozen=True, tag="part.end"):
    """The whole text, so that stored and live folds agree. ``seconds`` from begin to end."""

    part: str
    text: str
    tokens: int = 0
    seconds: float = 0.0
    seal: str = ""
    """Of reasoning: what its endpoint wants to see with it again."""


class FormatProblemSeen(msgspec.Struct, frozen=True, tag="model.problem"):
    code: str
    message: str


class ModelCallEnd(msgspec.Struct, frozen=True, tag="model.end"):
    finish_reason: str
    usage: Usage = Usage()
    timings: Timings = Timings()
    first_token_ms: float = 0.0
    seconds: float = 0.0


ModelBody = (
    ModelCallBegin
    | ModelPrompt
    | PrefillProgress
    | PartBegin
    | PartDelta
    | PartSnapshot
    | PartEnd
    | FormatProblemSeen
    | ModelCallEnd
)
