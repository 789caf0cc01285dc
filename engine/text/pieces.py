"""What the stream parser makes of a model's tokens, in the order it happens.

For one call: exactly one ToolCallBegin, then any ToolCallDelta, then exactly one ToolCallEnd,
all with the same ``index``; the deltas' ``arguments_text`` joined is the end's ``arguments``.
Calls do not interleave.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    text: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallBegin:
    """``index`` counts this reply's calls from 0; ``id`` is ``functions.NAME:N``."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    index: int
    arguments_text: str


@dataclass(frozen=True, slots=True)
class ToolCallEnd:
    """A call is complete.

    ``problem`` is None, or why it cannot be run: ``truncated``, ``unknown_tool`` (``name`` is
    then what the model wrote), ``invalid_arguments`` (``arguments`` is then what it wrote).
    Without a problem ``arguments`` is the text of a JSON object. ``written`` is header and
    arguments exactly as the model wrote them.
    """

    index: int
    id: str
    name: str
    arguments: str
    problem: str | None = None
    written: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """A departure from the format, repaired or harmless, for the counts. ``text`` was dropped."""

    code: str
    message: str
    text: str = ""


Piece = ReasoningDelta | TextDelta | ToolCallBegin | ToolCallDelta | ToolCallEnd | Problem
