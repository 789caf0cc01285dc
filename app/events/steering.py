"""What a person does to a run at work: breakpoints, pauses, messages, edits."""

from __future__ import annotations

from typing import Literal

import msgspec

PausePlace = Literal["step", "call", "result", "endpoint"]
"""``endpoint``: in a step, until whoever answers it is there again."""
GoMode = Literal["go", "step"]


class Breakpoint(msgspec.Struct, frozen=True):
    """Where a run pauses: before the tool named ``text``; on an error; when ``text`` is said,
    thought or read; before step ``number``; when ``number`` % of a limit are used.
    """

    kind: Literal["tool", "error", "text", "step", "budget"]
    text: str = ""
    number: float = 0


class BreakpointsSet(msgspec.Struct, frozen=True, tag="breakpoints"):
    """Those of the conversation from now on."""

    points: tuple[Breakpoint, ...]


class PauseAsked(msgspec.Struct, frozen=True, tag="pause.asked"):
    """A person wants the run to pause at the next place where it can."""


class Paused(msgspec.Struct, frozen=True, tag="paused"):
    """The run stands before a step, before a reply's calls, or after their results."""

    where: PausePlace
    reason: str


class Continued(msgspec.Struct, frozen=True, tag="continued"):
    """``step``: to pause again before the next step."""

    mode: GoMode


class MessageQueued(msgspec.Struct, frozen=True, tag="message.queued"):
    """A person says something while the run is at work; the model hears it in the next step."""

    id: str
    text: str


class MessageTaken(msgspec.Struct, frozen=True, tag="message.taken"):
    """A queued message, as a user message before this step's reply."""

    id: str
    text: str


class MessageWithdrawn(msgspec.Struct, frozen=True, tag="message.withdrawn"):
    """A queued message that the person took back before a step took it."""

    id: str


class ArgumentsEdited(msgspec.Struct, frozen=True, tag="tool.arguments_edited"):
    """A person changed a call before it ran; the model reads it as its own, and with the result
    that it was changed. ``before``: as it was.
    """

    call: str
    arguments: str
    before: str = ""


class ResultEdited(msgspec.Struct, frozen=True, tag="tool.result_edited"):
    """A person changed a result before the model read it."""

    call: str
    result: str


class ReasoningEdited(msgspec.Struct, frozen=True, tag="reasoning.edited"):
    """A person changed what was thought in the step ``step``. While that is still being written,
    the rest of it is discarded and the model goes on from here.
    """

    step: str
    text: str


SteeringBody = (
    BreakpointsSet
    | PauseAsked
    | Paused
    | Continued
    | MessageQueued
    | MessageTaken
    | MessageWithdrawn
    | ArgumentsEdited
    | ResultEdited
    | ReasoningEdited
)
