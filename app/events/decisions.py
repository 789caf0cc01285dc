"""What the program decides during a run, and tells the model or the person."""

from __future__ import annotations

from typing import Literal

import msgspec

Limit = Literal["steps", "tokens", "thinking", "step_thinking", "seconds", "tool_seconds", "cost"]

NOTE_BEGINS = "Note from the program, not from the user: "


class NoteGiven(msgspec.Struct, frozen=True, tag="note"):
    """Something the program tells the model before a step's reply; it stays in the history.
    ``about``: ids of what it speaks of, as changes that were undone, so that it is told once.
    """

    code: str
    text: str
    about: tuple[str, ...] = ()


class BudgetNear(msgspec.Struct, frozen=True, tag="budget.near"):
    """Most of a limit is used; the model is told in the same step."""

    limit: Limit
    used: float
    allowed: float


class ThinkingCut(msgspec.Struct, frozen=True, tag="budget.thinking"):
    """Reasoning ended at its limit: closed by the engine, or by the program leaving the stream."""

    tokens: int
    by: Literal["engine", "program"]


class Concluding(msgspec.Struct, frozen=True, tag="conclude"):
    """No further steps; this one has to answer from what is there. ``code`` says what ended it."""

    code: str
    message: str


class Retrying(msgspec.Struct, frozen=True, tag="model.retry"):
    """A model call broke off and is made again after ``wait`` seconds.

    What the step's model wrote so far is discarded: it is shown as such and never sent on.
    """

    attempt: int
    wait: float
    code: str
    message: str


class EndpointLost(msgspec.Struct, frozen=True, tag="endpoint.lost"):
    """Asking again was of no use and nobody answers there: the run waits, as one that is paused.

    What the step's model wrote so far is discarded, as before :class:`Retrying`.
    """

    endpoint: str
    code: str
    message: str
    hint: str = ""


class EndpointLooked(msgspec.Struct, frozen=True, tag="endpoint.looked"):
    """Published, never stored: how often it was looked for, and in how many seconds it will be."""

    looks: int
    wait: float


class EndpointBack(msgspec.Struct, frozen=True, tag="endpoint.back"):
    """The wait is over and the step's model is asked anew. ``by``: it answers again, or a person
    wants it to be tried.
    """

    endpoint: str
    seconds: float
    by: Literal["endpoint", "person"]


class RepairAsked(msgspec.Struct, frozen=True, tag="model.repair"):
    """Calls of a reply did not fit their tools; the model writes it once more.

    What it wrote is discarded, as before :class:`Retrying`. ``count``: of this run so far.
    """

    calls: tuple[str, ...]
    """Tools that were called wrongly."""
    problems: tuple[str, ...]
    count: int = 1


class LoopSeen(msgspec.Struct, frozen=True, tag="loop.seen"):
    """The same call with the same result again: what is done about it. ``count``: how often."""

    call: str
    stage: Literal["told", "forbidden", "refused", "heated", "concluded"]
    count: int


class ToolUnavailable(msgspec.Struct, frozen=True, tag="tool.unavailable"):
    """A tool that failed in the same way ``failures`` times rests until step ``until``."""

    name: str
    failures: int
    until: int


class DriftSeen(msgspec.Struct, frozen=True, tag="drift.seen"):
    """A sign that the run loses its way."""

    code: str
    message: str


class ContextHidden(msgspec.Struct, frozen=True, tag="context.hidden"):
    """From here on the model reads placeholders instead of these results. Tokens of the prompt;
    ``tokens_after`` 0: not known, for notes follow.
    """

    calls: tuple[str, ...]
    tokens_before: int
    tokens_after: int
    window: int
    reason: str


class ContextSummarised(msgspec.Struct, frozen=True, tag="context.summarised"):
    """From here on the model reads ``text`` instead of everything up to the first ``steps`` steps
    of ``turn``.
    """

    turn: str
    steps: int
    text: str
    tokens_before: int
    tokens_after: int
    window: int
    reason: str


class PlanItem(msgspec.Struct, frozen=True):
    text: str
    status: Literal["todo", "doing", "done", "dropped"] = "todo"


class PlanChanged(msgspec.Struct, frozen=True, tag="plan"):
    """The model's plan as it now stands."""

    items: tuple[PlanItem, ...]


class ToolsMissing(msgspec.Struct, frozen=True, tag="tools.missing"):
    """A server whose tools the run was to have cannot be used; it goes on without them."""

    server: str
    message: str


class ClockJumped(msgspec.Struct, frozen=True, tag="clock.jumped"):
    """Nothing ran for so long (sleep, a stopped process); no budget counts it."""

    seconds: float


DecisionBody = (
    NoteGiven
    | BudgetNear
    | ThinkingCut
    | Concluding
    | Retrying
    | EndpointLost
    | EndpointLooked
    | EndpointBack
    | RepairAsked
    | LoopSeen
    | ToolUnavailable
    | DriftSeen
    | ContextHidden
    | ContextSummarised
    | PlanChanged
    | ToolsMissing
    | ClockJumped
)
