"""How each event changes a conversation: a pure fold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import singledispatch

import msgspec

from app import events as ev
from app.events import Event
from app.remarks import remark
from app.state.values import (
    Away,
    ContextChange,
    ConversationState,
    ModelCall,
    Part,
    Remark,
    Step,
    Summary,
    ToolRun,
    Turn,
)


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
    return _with_turn(state, body.turn, lambda t: _resumed(t, event.at))


@_apply.register
def _(body: ev.LaneBegin, state: ConversationState, event: Event) -> ConversationState:
    def begin(turn: Turn) -> Turn:
        settings = msgspec.structs.replace(turn.settings, seed=body.seed, lanes=1)
        lane = Turn(body.lane, turn.parent, turn.text, settings, began=event.at, number=body.number)
        return replace(turn, lanes=(*turn.lanes, lane))

    return _with_turn(state, event.run, begin)


@_apply.register
def _(body: ev.LaneResumed, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(
        state, body.lane, lambda t: replace(_resumed(t, event.at), lane_end=None, ended=0.0)
    )


@_apply.register
def _(body: ev.LaneEnd, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(
        state,
        body.lane,
        lambda t: replace(
            t,
            status=body.status,
            answer=body.answer,
            ended=event.at,
            paused=None,
            away=None,
            pausing=False,
            lane_end=body,
        ),
    )


@_apply.register
def _(body: ev.LanesCompared, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(state, event.run, lambda t: replace(t, agreement=body))


@_apply.register
def _(body: ev.TurnEnd, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(
        state,
        body.turn,
        lambda t: replace(
            t,
            status=body.status,
            answer=body.answer,
            ended=event.at,
            paused=None,
            away=None,
            pausing=False,
        ),
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
def _(body: ev.PauseAsked, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(state, event.run, lambda t: replace(t, pausing=True))


@_apply.register
def _(body: ev.Paused, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(state, event.run, lambda t: replace(t, paused=body, pausing=False))


@_apply.register
def _(body: ev.Continued, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(state, event.run, lambda t: replace(t, paused=None, away=None, pausing=False))


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
def _(body: ev.MessageWithdrawn, state: ConversationState, event: Event) -> ConversationState:
    def withdraw(turn: Turn) -> Turn:
        return replace(turn, queued=tuple(one for one in turn.queued if one.id != body.id))

    return _with_turn(state, event.run, withdraw)


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
        return _without_parts(step)

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
            p,
            text=body.text,
            tokens=body.tokens,
            seconds=body.seconds,
            ended=event.at,
            seal=body.seal,
        ),
    )


@_apply.register
def _(body: ev.FormatProblemSeen, state: ConversationState, event: Event) -> ConversationState:
    return _with_call(
        state,
        event,
        lambda c: replace(c, problems=(*c.problems, (body.code, body.message))),
    )


@_apply.register(ev.RepairAsked)
@_apply.register(ev.Retrying)
def _(body: object, state: ConversationState, event: Event) -> ConversationState:
    return _with_step(state, event, _without_parts)


@_apply.register
def _(body: ev.EndpointLost, state: ConversationState, event: Event) -> ConversationState:
    state = _with_step(state, event, _without_parts)
    paused = ev.Paused("endpoint", body.message)
    away = Away(event.at, body)
    return _with_turn(state, event.run, lambda t: replace(t, paused=paused, away=away))


@_apply.register
def _(body: ev.EndpointLooked, state: ConversationState, event: Event) -> ConversationState:
    # Never stored: shown only while the run waits, and gone when it does not.
    def look(turn: Turn) -> Turn:
        if turn.away is None:
            return turn
        again = replace(turn.away, looks=body.looks, next_look=event.at + body.wait)
        return replace(turn, away=again)

    return _with_turn(state, event.run, look)


@_apply.register
def _(body: ev.EndpointBack, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(state, event.run, lambda t: replace(t, paused=None, away=None))


@_apply.register
def _(body: ev.ContextHidden, state: ConversationState, event: Event) -> ConversationState:
    calls = frozenset(body.calls)
    change = ContextChange(event.at, event.span, body)
    return _with_turn(
        state,
        event.run,
        lambda t: replace(t, hidden=t.hidden | calls, context=(*t.context, change)),
    )


@_apply.register
def _(body: ev.ContextSummarised, state: ConversationState, event: Event) -> ConversationState:
    summary = Summary(body.turn, body.steps, body.text)
    change = ContextChange(event.at, event.span, body)
    return _with_turn(
        state,
        event.run,
        lambda t: replace(t, summary=summary, context=(*t.context, change)),
    )


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
    def ask(tool: ToolRun) -> ToolRun:
        return replace(
            tool,
            asked=body.reason,
            risk=body.risk,
            preview=body.preview,
            sandbox=body.sandbox,
            strange=body.strange,
            suggestions=body.suggestions,
        )

    return _with_tool(state, event, body.call, ask)


@_apply.register
def _(body: ev.ApprovalAnswered, state: ConversationState, event: Event) -> ConversationState:
    return _with_tool(
        state,
        event,
        body.call,
        lambda t: replace(
            t,
            decision=body.decision,
            decided_by=body.by,
            deny_reason=body.reason,
            rule=body.rule,
        ),
    )


@_apply.register
def _(body: ev.UnattendedSet, state: ConversationState, event: Event) -> ConversationState:
    if event.run:
        return _with_turn(state, event.run, lambda t: replace(t, unattended=body.scope))
    return replace(state, unattended=body.scope)


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
def _(body: ev.ArtefactMade, state: ConversationState, event: Event) -> ConversationState:
    return _with_tool(state, event, body.call, lambda t: replace(t, artefacts=(*t.artefacts, body)))


@_apply.register
def _(body: ev.FileChanged, state: ConversationState, event: Event) -> ConversationState:
    return _with_tool(state, event, body.call, lambda t: replace(t, changes=(*t.changes, body)))


@_apply.register
def _(body: ev.FileRestored, state: ConversationState, event: Event) -> ConversationState:
    """In every branch and lane that has the change: a fork shares its source's steps."""

    def mark(tool: ToolRun) -> ToolRun:
        if all(one.change != body.change for one in tool.changes):
            return tool
        return replace(tool, undone=tool.undone | {body.change})

    def in_step(step: Step) -> Step:
        tools = tuple(map(mark, step.tools))
        return step if tools == step.tools else replace(step, tools=tools)

    def in_turn(turn: Turn) -> Turn:
        steps, lanes = tuple(map(in_step, turn.steps)), tuple(map(in_turn, turn.lanes))
        same = steps == turn.steps and lanes == turn.lanes
        return turn if same else replace(turn, steps=steps, lanes=lanes)

    return replace(state, turns=tuple(map(in_turn, state.turns)))


@_apply.register
def _(body: ev.StopAsked, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(state, event.run, lambda t: replace(t, stopping=body.mode))


@_apply.register
def _(body: ev.Interrupted, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(state, event.run, lambda t: replace(t, interrupted=body))


@_apply.register
def _(body: ev.Failed, state: ConversationState, event: Event) -> ConversationState:
    return _with_turn(state, event.run, lambda t: replace(t, failure=body))


def _without_parts(step: Step) -> Step:
    """What its model wrote is not read again."""
    return replace(step, parts=tuple(replace(p, discarded=True) for p in step.parts))


def _resumed(turn: Turn, at: float) -> Turn:
    # A step that never ended is run again, so what it had written is dropped; unless calls of
    # it had begun: they happened, and the model has to know.
    done = tuple(
        s if s.ended else replace(s, ended=at)
        for s in turn.steps
        if s.ended or any(tool.started for tool in s.tools)
    )
    counted = len(done) if turn.status == "budget" else turn.counted_from
    return replace(
        turn, status="running", ended=0.0, answer="", steps=done,
        stopping=None, interrupted=None, failure=None, counted_from=counted,
    )  # fmt: skip


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
        turn = state.turns[i]
        changed = change(turn) if turn.id == id else _with_lane(turn, id, change)
        if changed is not None:
            return replace(state, turns=(*state.turns[:i], changed, *state.turns[i + 1 :]))
    return state


def _with_lane(turn: Turn, id: str, change: Callable[[Turn], Turn]) -> Turn | None:
    """None: it has no such lane."""
    for i, lane in enumerate(turn.lanes):
        if lane.id == id:
            return replace(turn, lanes=(*turn.lanes[:i], change(lane), *turn.lanes[i + 1 :]))
    return None


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
