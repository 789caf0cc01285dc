"""Turns and their steps: how they begin, go on, are cut off and end."""

from __future__ import annotations

from typing import Literal

import msgspec

from app.events.run import RunSettings

TurnStatus = Literal["running", "answered", "stopped", "failed", "budget"]
Cause = Literal["user", "budget", "shutdown", "engine_lost", "loop"]
StopMode = Literal["now", "after_step"]
Purpose = Literal["act", "conclude", "summary", "aggregate"]
"""What a step is for: to go on with the task, to answer from what is there, to write notes, to
make one answer of those of several lanes.
"""


class Fork(msgspec.Struct, frozen=True):
    """A turn that begins with the first ``steps`` steps of another."""

    turn: str
    steps: int


class TurnBegin(msgspec.Struct, frozen=True, tag="turn.begin"):
    """A user message and the run that answers it. ``turn`` is the run id.

    ``parent`` is the turn before it on its branch (None: the first). Regenerate and edit add a
    sibling: another turn with the same parent.
    """

    turn: str
    parent: str | None
    text: str
    settings: RunSettings
    fork: Fork | None = None


class TurnSelected(msgspec.Struct, frozen=True, tag="turn.selected"):
    """The person switched branches: the path that ends in this turn's subtree is shown."""

    turn: str


class TurnResumed(msgspec.Struct, frozen=True, tag="turn.resumed"):
    """An interrupted turn goes on after its last finished step."""

    turn: str


class TurnEnd(msgspec.Struct, frozen=True, tag="turn.end"):
    turn: str
    status: TurnStatus
    answer: str = ""


class StepBegin(msgspec.Struct, frozen=True, tag="step.begin"):
    index: int
    purpose: Purpose = "act"


class StepEnd(msgspec.Struct, frozen=True, tag="step.end"):
    index: int


class StopAsked(msgspec.Struct, frozen=True, tag="stop.asked"):
    mode: StopMode


class Interrupted(msgspec.Struct, frozen=True, tag="interrupted"):
    cause: Cause
    message: str = ""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    code: str
    message: str
    hint: str = ""
    retryable: bool = False


TurnBody = (
    TurnBegin
    | TurnSelected
    | TurnResumed
    | TurnEnd
    | StepBegin
    | StepEnd
    | StopAsked
    | Interrupted
    | Failed
)
