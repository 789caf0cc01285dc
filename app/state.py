"""What a conversation looks like: a pure fold over its events.

All values are frozen and share structure: an object that a new event did not touch is the *same*
object in the next state, so a view can compare by identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch

from app import events as ev
from app.events import Event
from app.remarks import remark
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
    decision: ev.Decision | None = None
    decided_by: str = ""
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

    @property
    def waiting(self) -> bool:
        """Whether a person has to decide before it can go on."""
        return bool(self.asked) and self.decision is None and self.status is None


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
    parts: tuple[Part, ...] = ()
    tools: tuple[ToolRun, ...] = ()
    ended: float = 0.0
    purpose: ev.Purpose = "act"
    notes: tuple[ev.NoteGiven | ev.MessageTaken, ...] = ()
    """What the model is told before its reply, by the program or by a person."""
    reasoning: str | None = None
    """What a person put in the place of the model's reasoning."""
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """Notes that stand for everything up to the first ``steps`` steps of ``turn``."""

    turn: str
    steps: int
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A user message and the run that answers it."""

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
    counted_from: int = 0
    """The first step that counts against the budget: a person let it go on after a limit."""
    remarks: tuple[Remark, ...] = ()
    """What belongs to no step."""
    paused: ev.Paused | None = None
    queued: tuple[ev.MessageQueued, ...] = ()
    """What a person said that no step has taken yet."""
    hidden: frozenset[str] = frozenset()
    """Calls, of this turn and those before it, whose results the model no longer reads."""
    summary: Summary | None = None
    plan: tuple[ev.PlanItem, ...] | None = None
    plan_call: str = ""
    """The call that showed the plan last."""


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

    def turn(self, id: str) -> Turn | None:
        return next((t for t in reversed(self.turns) if t.id == id), None)

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


def fold(state: ConversationState, event: Event) -> ConversationState:
    """The next state. Never raises on an event that arrives out of place: it is ignored."""
    after = _apply(event.body, state, event)
    words = remark(event.body)
    if words:
        after = _remarked(after, event, Remark(event.at, *words))
    return replace(
        after,
        id=after.id or event.conversation,
        updated=max(after.updated, event.at),
        last_seq=max(after.last_seq, event.seq),
    )


def fold_all(events: Iterable[Event], state: ConversationState | None = None) -> ConversationState:
    """Fold many events, from an empty state unless one is given."""
    state = state or ConversationState()
    for event in events:
        state = fold(state, event)
    return state


@singledispatch
def _apply(body: object, state: ConversationState, event: Event) -> ConversationState:
    return state


@_apply.register
def _(body: ev.Unknown, state: ConversationState, event: Event) -> ConversationState:
    return replace(state, unknown=(*state.unknown, body))


@_apply.register
def _(body: ev.ConversationCreated, state: ConversationState, event: Event) -> ConversationState:
    return replace(
        state, id=event.conversation, title=body.title, folder=body.folder, created=event.at
    )


@_apply.register
def _(body: ev.ConversationRenamed, state: ConversationState, event: Event) -> ConversationState:
    return replace(state, title=body.title)


@_apply.register
def _(
    body: ev.ConversationFolderChanged, state: ConversationState, event: Event
) -> ConversationState:
    return replace(state, folder=body.folder)


@_apply.register
def _(body: ev.ConversationDeleted, state: ConversationState, event: Event) -> ConversationState:
    return replace(state, deleted=True)


@_apply.register
def _(body: ev.ConversationRestored, state: ConversationState, event: Event) -> ConversationState:
    return replace(state, deleted=False)


@_apply.register
def _(body: ev.TurnBegin, state: ConversationState, event: Event) -> ConversationState:
    turn = Turn(body.turn, body.parent, body.text, body.settings, began=event.at)
    source = state.turn(body.fork.turn) if body.fork else None
    if source is not None and body.fork is not None:
        turn = _forked(turn, source, body.fork.steps)
    return replace(state, turns=(*state.turns, turn), selected=turn.id)


@_apply.register
def _(body: ev.TurnSelected, state: ConversationState, event: Event) -> ConversationState:
    return replace(state, selected=body.turn) if state.turn(body.turn) else state


@_apply.register
def _(body: ev.TurnResumed, state: ConversationState, event: Event) -> ConversationState:
    def resume(turn: Turn) -> Turn:
        # A step that never ended is run again, so what it had written is dropped; unless calls of
        # it had begun: they happened, and the model has to know.
        done = tuple(
            s if s.ended else replace(s, ended=event.at)
            for s in turn.steps
            if s.ended or any(tool.started for tool in s.tools)
        )
        counted = len(done) if turn.status == "budget" else turn.counted_from
        return replace(
            turn, status="running", ended=0.0, answer="", steps=done,
            stopping=None, interrupted=None, failure=None, counted_from=counted,
        )  # fmt: skip

    return _with_turn(state, body.turn, resume)


@_apply.register
def _(body: ev.TurnEnd, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(
        state,
        body.turn,
        lambda t: replace(t, status=body.status, answer=body.answer, ended=event.at, paused=None),
    )


@_apply.register
def _(body: ev.StepBegin, state: ConversationState, event: Event) -> ConversationState:
    step = Step(body.index, event.span, began=event.at, purpose=body.purpose)
    return _with_turn(state, event.run, lambda t: replace(t, steps=(*t.steps, step)))


@_apply.register
def _(body: ev.StepEnd, state: ConversationState, event: Event) -> ConversationState:
    return _with_step(state, event, lambda s: replace(s, ended=event.at))


@_apply.register
def _(body: ev.BreakpointsSet, state: ConversationState, event: Event) -> ConversationState:
    return replace(state, breakpoints=body.points)


@_apply.register
def _(body: ev.Paused, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(state, event.run, lambda t: replace(t, paused=body))


@_apply.register
def _(body: ev.Continued, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(state, event.run, lambda t: replace(t, paused=None))


@_apply.register
def _(body: ev.MessageQueued, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(state, event.run, lambda t: replace(t, queued=(*t.queued, body)))


@_apply.register
def _(body: ev.MessageTaken, state: ConversationState, event: Event) -> ConversationState:
    def taken(turn: Turn) -> Turn:
        return replace(turn, queued=tuple(one for one in turn.queued if one.id != body.id))

    state = _with_turn(state, event.run, taken)
    return _with_step(state, event, lambda s: replace(s, notes=(*s.notes, body)))


@_apply.register
def _(body: ev.ArgumentsEdited, state: ConversationState, event: Event) -> ConversationState:
    def edit(tool: ToolRun) -> ToolRun:
        written = tool.arguments if tool.written is None else tool.written
        return replace(tool, arguments=body.arguments, written=written)

    return _with_tool(state, event, body.call, edit)


@_apply.register
def _(body: ev.ResultEdited, state: ConversationState, event: Event) -> ConversationState:
    def edit(tool: ToolRun) -> ToolRun:
        returned = tool.result if tool.returned is None else tool.returned
        return replace(tool, result=body.result, returned=returned)

    return _with_tool(state, event, body.call, edit)


@_apply.register
def _(body: ev.ReasoningEdited, state: ConversationState, event: Event) -> ConversationState:
    def edit(step: Step) -> Step:
        if step.call is not None and step.call.ended:
            return replace(step, reasoning=body.text)
        return replace(step, parts=tuple(replace(p, discarded=True) for p in step.parts))

    return _with_step(state, event, edit)


@_apply.register
def _(body: ev.NoteGiven, state: ConversationState, event: Event) -> ConversationState:
    return _with_step(state, event, lambda s: replace(s, notes=(*s.notes, body)))


@_apply.register
def _(body: ev.ModelCallBegin, state: ConversationState, event: Event) -> ConversationState:
    before = _call_of(state, event.run, body.after)
    call = ModelCall(
        body.backend,
        body.model,
        (*before.messages[: body.kept], *body.messages) if before else body.messages,
        before.tools if before and body.same_tools else body.tools,
        tuple(sorted(body.sampling.items())),
        began=event.at,
    )
    return _with_step(state, event, lambda s: replace(s, call=call))


@_apply.register
def _(body: ev.ModelPrompt, state: ConversationState, event: Event) -> ConversationState:
    before = _call_of(state, event.run, body.after)
    parts = (*_first(before.prompt_parts, body.kept), body.text) if before else (body.text,)
    return _with_call(
        state, event, lambda c: replace(c, prompt_parts=parts, prompt_tokens=body.tokens)
    )


@_apply.register
def _(body: ev.PrefillProgress, state: ConversationState, event: Event) -> ConversationState:
    # Never stored: shown only while the call is open, and cleared at its end.
    return _with_call(
        state,
        event,
        lambda c: replace(
            c,
            prefill_done=body.done,
            prefill_total=body.total,
            prefill_seconds_left=body.seconds_left,
        ),
    )


@_apply.register
def _(body: ev.PartBegin, state: ConversationState, event: Event) -> ConversationState:
    part = Part(body.part, body.kind, began=event.at, call=body.call, name=body.name)

    def begin(step: Step) -> Step:
        call = step.call
        if call is not None and not call.first_part:
            call = replace(call, first_part=event.at)
        return replace(step, call=call, parts=(*step.parts, part))

    return _with_step(state, event, begin)


@_apply.register
def _(body: ev.PartDelta, state: ConversationState, event: Event) -> ConversationState:
    return _with_part(
        state,
        event,
        body.part,
        lambda p: replace(p, text=p.text + body.text, tokens=p.tokens + body.tokens),
    )


@_apply.register
def _(body: ev.PartSnapshot, state: ConversationState, event: Event) -> ConversationState:
    return _with_part(
        state, event, body.part, lambda p: replace(p, text=body.text, tokens=body.tokens)
    )


@_apply.register
def _(body: ev.PartEnd, state: ConversationState, event: Event) -> ConversationState:
    return _with_part(
        state,
        event,
        body.part,
        lambda p: replace(
            p, text=body.text, tokens=body.tokens, seconds=body.seconds, ended=event.at
        ),
    )


@_apply.register
def _(body: ev.FormatProblemSeen, state: ConversationState, event: Event) -> ConversationState:
    return _with_call(
        state,
        event,
        lambda c: replace(c, problems=(*c.problems, (body.code, body.message))),
    )


@_apply.register
def _(body: ev.Retrying, state: ConversationState, event: Event) -> ConversationState:
    def discard(step: Step) -> Step:
        return replace(step, parts=tuple(replace(p, discarded=True) for p in step.parts))

    return _with_step(state, event, discard)


@_apply.register
def _(body: ev.ContextHidden, state: ConversationState, event: Event) -> ConversationState:
    calls = frozenset(body.calls)
    return _with_turn(state, event.run, lambda t: replace(t, hidden=t.hidden | calls))


@_apply.register
def _(body: ev.ContextSummarised, state: ConversationState, event: Event) -> ConversationState:
    summary = Summary(body.turn, body.steps, body.text)
    return _with_turn(state, event.run, lambda t: replace(t, summary=summary))


@_apply.register
def _(body: ev.PlanChanged, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(state, event.run, lambda t: replace(t, plan=body.items))


@_apply.register
def _(body: ev.ModelCallEnd, state: ConversationState, event: Event) -> ConversationState:
    return _with_call(
        state,
        event,
        lambda c: replace(
            c,
            finish_reason=body.finish_reason,
            usage=body.usage,
            timings=body.timings,
            first_token_ms=body.first_token_ms,
            seconds=body.seconds,
            ended=event.at,
            prefill_done=0,
            prefill_total=0,
            prefill_seconds_left=None,
        ),
    )


@_apply.register
def _(body: ev.ToolProposed, state: ConversationState, event: Event) -> ConversationState:
    run = ToolRun(
        body.call,
        body.name,
        body.arguments,
        proposed=event.at,
        problem=body.problem,
        repeats=body.repeats,
    )
    return _with_step(state, event, lambda s: replace(s, tools=(*s.tools, run)))


@_apply.register
def _(body: ev.ApprovalAsked, state: ConversationState, event: Event) -> ConversationState:
    return _with_tool(state, event, body.call, lambda t: replace(t, asked=body.reason))


@_apply.register
def _(body: ev.ApprovalAnswered, state: ConversationState, event: Event) -> ConversationState:
    return _with_tool(
        state,
        event,
        body.call,
        lambda t: replace(t, decision=body.decision, decided_by=body.by, deny_reason=body.reason),
    )


@_apply.register
def _(body: ev.ToolStarted, state: ConversationState, event: Event) -> ConversationState:
    return _with_tool(state, event, body.call, lambda t: replace(t, started=event.at))


@_apply.register
def _(body: ev.ToolOutput, state: ConversationState, event: Event) -> ConversationState:
    return _with_tool(state, event, body.call, lambda t: replace(t, output=t.output + body.text))


@_apply.register
def _(body: ev.ToolEnded, state: ConversationState, event: Event) -> ConversationState:
    if _is_plan(state, event, body.call):
        state = _with_turn(state, event.run, lambda t: replace(t, plan_call=body.call))
    return _with_tool(
        state,
        event,
        body.call,
        lambda t: replace(t, status=body.status, result=body.result, seconds=body.seconds),
    )


@_apply.register
def _(body: ev.StopAsked, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(state, event.run, lambda t: replace(t, stopping=body.mode))


@_apply.register
def _(body: ev.Interrupted, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(state, event.run, lambda t: replace(t, interrupted=body))


@_apply.register
def _(body: ev.Failed, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(state, event.run, lambda t: replace(t, failure=body))


def _is_plan(state: ConversationState, event: Event, call: str) -> bool:
    turn = state.turn(event.run)
    tools = turn.steps[-1].tools if turn and turn.steps else ()
    return any(tool.call == call and tool.name == "plan" for tool in tools)


def _forked(turn: Turn, source: Turn, count: int) -> Turn:
    """With the beginning of another turn; what was decided later there does not hold here."""
    steps = source.steps[:count]
    calls = frozenset(tool.call for step in steps for tool in step.tools)
    later = frozenset(tool.call for step in source.steps[count:] for tool in step.tools)
    summary = source.summary
    if summary is not None and summary.turn == source.id:
        summary = replace(summary, turn=turn.id) if summary.steps <= count else None
    planned = source.plan_call in calls
    return replace(
        turn,
        steps=steps,
        counted_from=len(steps),
        hidden=source.hidden - later,
        summary=summary,
        plan=source.plan if planned else None,
        plan_call=source.plan_call if planned else "",
    )


def _call_of(state: ConversationState, turn: str, span: str) -> ModelCall | None:
    found = state.turn(turn) if span else None
    steps = found.steps if found else ()
    return next((step.call for step in reversed(steps) if step.span == span), None)


def _first(parts: tuple[str, ...], characters: int) -> tuple[str, ...]:
    """The beginning of a text in parts; whole parts stay the same objects."""
    for i, part in enumerate(parts):
        if len(part) > characters:
            return (*parts[:i], part[:characters]) if characters else parts[:i]
        characters -= len(part)
    return parts


def _remarked(state: ConversationState, event: Event, one: Remark) -> ConversationState:
    """With a remark at its step, else at the turn."""

    def inner(turn: Turn) -> Turn:
        if turn.steps and turn.steps[-1].span == event.span:
            last = turn.steps[-1]
            last = replace(last, remarks=(*last.remarks, one))
            return replace(turn, steps=(*turn.steps[:-1], last))
        return replace(turn, remarks=(*turn.remarks, one))

    return _with_turn(state, event.run, inner)


def _with_turn(
    state: ConversationState, id: str, change: Callable[[Turn], Turn]
) -> ConversationState:
    for i in range(len(state.turns) - 1, -1, -1):
        if state.turns[i].id == id:
            return replace(
                state, turns=(*state.turns[:i], change(state.turns[i]), *state.turns[i + 1 :])
            )
    return state


def _with_step(
    state: ConversationState, event: Event, change: Callable[[Step], Step]
) -> ConversationState:
    def inner(turn: Turn) -> Turn:
        for i in range(len(turn.steps) - 1, -1, -1):
            if turn.steps[i].span == event.span:
                steps = (*turn.steps[:i], change(turn.steps[i]), *turn.steps[i + 1 :])
                return replace(turn, steps=steps)
        return turn

    return _with_turn(state, event.run, inner)


def _with_call(
    state: ConversationState, event: Event, change: Callable[[ModelCall], ModelCall]
) -> ConversationState:
    return _with_step(
        state, event, lambda s: s if s.call is None else replace(s, call=change(s.call))
    )


def _with_part(
    state: ConversationState, event: Event, id: str, change: Callable[[Part], Part]
) -> ConversationState:
    return _with_step(
        state,
        event,
        lambda s: replace(s, parts=tuple(change(p) if p.id == id else p for p in s.parts)),
    )


def _with_tool(
    state: ConversationState, event: Event, call: str, change: Callable[[ToolRun], ToolRun]
) -> ConversationState:
    return _with_step(
        state,
        event,
        lambda s: replace(s, tools=tuple(change(t) if t.call == call else t for t in s.tools)),
    )
