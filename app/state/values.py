"""What a conversation looks like: the values that views, the loop and tests read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app import events as ev
from engine.protocol import ChatMessage, Timings, ToolSpec, Usage

_NO_USAGE = Usage()
_NO_TIMINGS = Timings()


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of model output of one kind. ``ended`` is 0 while it streams (Unix seconds)."""

    id: str
    kind: ev.PartKind
    text: str = ""
    tokens: int = 0
    began: float = 0.0
    seconds: float = 0.0
    ended: float = 0.0
    call: str = ""
    name: str = ""
    discarded: bool = False
    """Of an attempt that broke off; the model does not read it again."""
    seal: str = ""

    @property
    def open(self) -> bool:
        return not self.ended


@dataclass(frozen=True, slots=True)
class ToolRun:
    """One call from proposal to result. ``status`` None: not ended."""

    call: str
    name: str
    arguments: str
    proposed: float
    problem: str = ""
    repeats: str = ""
    """A call of unknown outcome that was the same."""
    asked: str = ""
    """Why approval is asked; empty: not asked."""
    risk: str = ""
    preview: str = ""
    sandbox: str = ""
    strange: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    """What a person was told with the question; see ``ApprovalAsked``."""
    decision: ev.Decision | None = None
    decided_by: str = ""
    rule: str = ""
    """The pattern that decided, or that the answer was kept as."""
    deny_reason: str = ""
    started: float = 0.0
    output: str = ""
    status: ev.ToolStatus | None = None
    result: str = ""
    seconds: float = 0.0
    written: str | None = None
    """The arguments as the model wrote them, where a person changed them."""
    returned: str | None = None
    """The result as the tool gave it, where a person changed it."""
    artefacts: tuple[ev.ArtefactMade, ...] = ()
    changes: tuple[ev.FileChanged, ...] = ()
    undone: frozenset[str] = frozenset()
    """Those of its changes that a person undid."""

    @property
    def waiting(self) -> bool:
        """Whether a person has to decide before it can go on."""
        return bool(self.asked) and self.decision is None and self.status is None

    def can_undo(self, change: ev.FileChanged) -> bool:
        """Whether a person may take back a change of it: not yet done, and what was is kept."""
        return change.change not in self.undone and change.before != ""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One request to a model and what became of it."""

    backend: str
    model: str
    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolSpec, ...]
    sampling: tuple[tuple[str, object], ...]
    began: float
    prompt_parts: tuple[str, ...] = ()
    """Shared with the calls before, as far as the prompts are the same."""
    prompt_tokens: int = 0
    prefill_done: int = 0
    prefill_total: int = 0
    prefill_seconds_left: float | None = None
    first_part: float = 0.0
    finish_reason: str = ""
    usage: Usage = _NO_USAGE
    timings: Timings = _NO_TIMINGS
    first_token_ms: float = 0.0
    seconds: float = 0.0
    ended: float = 0.0
    problems: tuple[tuple[str, str], ...] = ()
    """Format problems as (code, message)."""

    @property
    def prompt(self) -> str:
        """The rendered prompt; empty where the endpoint does not tell."""
        return "".join(self.prompt_parts)


@dataclass(frozen=True, slots=True)
class Remark:
    """Something the program decided or met, in words for people."""

    at: float
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """One model call, the parts it wrote and the tools it called."""

    index: int
    span: str
    began: float
    call: ModelCall | None = None
    earlier: tuple[ModelCall, ...] = ()
    """Calls before it whose replies were discarded."""
    parts: tuple[Part, ...] = ()
    tools: tuple[ToolRun, ...] = ()
    ended: float = 0.0
    purpose: ev.Purpose = "act"
    notes: tuple[ev.NoteGiven | ev.MessageTaken, ...] = ()
    """What the model is told before its reply, by the program or by a person."""
    reasoning: str | None = None
    """What a person put in the place of the model's reasoning."""
    remarks: tuple[Remark, ...] = ()

    @property
    def calls(self) -> tuple[ModelCall, ...]:
        """Whatever became of their replies."""
        return (*self.earlier, self.call) if self.call is not None else self.earlier


@dataclass(frozen=True, slots=True)
class Summary:
    """Notes that stand for everything up to the first ``steps`` steps of ``turn``."""

    turn: str
    steps: int
    text: str


@dataclass(frozen=True, slots=True)
class ContextChange:
    """A decision of the context policy. ``span``: the step after which it was made."""

    at: float
    span: str
    body: ev.ContextHidden | ev.ContextSummarised


@dataclass(frozen=True, slots=True)
class Away:
    """An endpoint that a run waits for. ``next_look`` is when it is looked for again (Unix seconds,
    0: not known), after ``looks`` times in vain.
    """

    since: float
    lost: ev.EndpointLost
    looks: int = 0
    next_look: float = 0.0


@dataclass(frozen=True, slots=True)
class Turn:
    """A user message and the run that answers it; or one lane of such a run, in ``lanes``."""

    id: str
    parent: str | None
    text: str
    settings: ev.RunSettings
    began: float
    steps: tuple[Step, ...] = ()
    status: ev.TurnStatus = "running"
    answer: str = ""
    ended: float = 0.0
    stopping: ev.StopMode | None = None
    interrupted: ev.Interrupted | None = None
    failure: ev.Failed | None = None
    unattended: ev.Unattended | None = None
    counted_from: int = 0
    """The first step that counts against the budget: a person let it go on after a limit."""
    lost: tuple[ModelCall, ...] = ()
    """Calls of steps that were begun anew when the turn went on; they count, too."""
    remarks: tuple[Remark, ...] = ()
    """What belongs to no step."""
    paused: ev.Paused | None = None
    away: Away | None = None
    """The endpoint for whose sake it is paused."""
    pausing: bool = False
    """A person asked for a pause, and it has not come to a place where it can."""
    queued: tuple[ev.MessageQueued, ...] = ()
    """What a person said that no step has taken yet."""
    hidden: frozenset[str] = frozenset()
    """Calls, of this turn and those before it, whose results the model no longer reads."""
    summary: Summary | None = None
    plan: tuple[ev.PlanItem, ...] | None = None
    plan_call: str = ""
    """The call that showed the plan last."""
    context: tuple[ContextChange, ...] = ()
    lanes: tuple[Turn, ...] = ()
    """Trajectories side by side, each with the text of this turn, in the order of their numbers."""
    agreement: ev.LanesCompared | None = None
    number: int = 0
    """Of a lane, from 1; 0: this is none."""
    lane_end: ev.LaneEnd | None = None


@dataclass(frozen=True, slots=True)
class ConversationState:
    """All branches of a conversation; ``path`` names the turns that are shown."""

    id: str = ""
    title: str = ""
    folder: str = ""
    created: float = 0.0
    updated: float = 0.0
    deleted: bool = False
    turns: tuple[Turn, ...] = ()
    selected: str | None = None
    """The last turn of the shown branch."""
    last_seq: int = 0
    unknown: tuple[ev.Unknown, ...] = ()
    breakpoints: tuple[ev.Breakpoint, ...] = ()
    unattended: ev.Unattended | None = None

    def turn(self, id: str) -> Turn | None:
        """A turn, or a lane of one."""
        for turn in reversed(self.turns):
            if turn.id == id:
                return turn
            for lane in turn.lanes:
                if lane.id == id:
                    return lane
        return None

    def path(self) -> tuple[Turn, ...]:
        """The shown branch from its first turn to ``selected``."""
        found: list[Turn] = []
        by_id = {t.id: t for t in self.turns}
        current = by_id.get(self.selected) if self.selected else None
        while current is not None and len(found) <= len(by_id):
            found.append(current)
            current = by_id.get(current.parent) if current.parent else None
        return tuple(reversed(found))

    def siblings(self, turn: Turn) -> tuple[Turn, ...]:
        """Turns that share a parent with this one, oldest first, itself included."""
        return tuple(t for t in self.turns if t.parent == turn.parent)

    @property
    def running(self) -> bool:
        return any(t.status == "running" for t in self.turns)


def hidden_on(path: Sequence[Turn]) -> frozenset[str]:
    """Calls of a branch whose results are hidden from the model."""
    return frozenset().union(*(turn.hidden for turn in path))


def summary_on(path: Sequence[Turn]) -> Summary | None:
    """The notes that stand for a branch's beginning."""
    return next((turn.summary for turn in reversed(path) if turn.summary), None)


def plan_on(path: Sequence[Turn]) -> tuple[ev.PlanItem, ...]:
    """The model's plan on a branch."""
    return next((turn.plan for turn in reversed(path) if turn.plan is not None), ())


def plan_call_on(path: Sequence[Turn]) -> str:
    """The call that showed it last."""
    return next((turn.plan_call for turn in reversed(path) if turn.plan_call), "")
