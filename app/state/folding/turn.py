"""Turns and their steps."""

from __future__ import annotations

from dataclasses import replace

from app import events as ev
from app.events import Event
from app.state.folding.within import apply, with_step, with_turn
from app.state.values import ConversationState, Step, Turn


@apply.register
def _(body: ev.TurnBegin, state: ConversationState, event: Event) -> ConversationState:
    turn = Turn(body.turn, body.parent, body.text, body.settings, began=event.at)
    source = state.turn(body.fork.turn) if body.fork else None
    if source is not None and body.fork is not None:
        turn = _forked(turn, source, body.fork.steps)
    return replace(state, turns=(*state.turns, turn), selected=turn.id)


@apply.register
def _(body: ev.TurnSelected, state: ConversationState, event: Event) -> ConversationState:
    return replace(state, selected=body.turn) if state.turn(body.turn) else state


@apply.register
def _(body: ev.TurnResumed, state: ConversationState, event: Event) -> ConversationState:
    return with_turn(state, body.turn, lambda t: resumed(t, event.at))


@apply.register
def _(body: ev.TurnEnd, state: ConversationState, event: Event) -> ConversationState:
    return with_turn(state, body.turn, lambda t: ended(t, body, event.at))


@apply.register
def _(body: ev.StepBegin, state: ConversationState, event: Event) -> ConversationState:
    step = Step(body.index, event.span, began=event.at, purpose=body.purpose)
    return with_turn(state, event.run, lambda t: replace(t, steps=(*t.steps, step)))


@apply.register
def _(body: ev.StepEnd, state: ConversationState, event: Event) -> ConversationState:
    return with_step(state, event, lambda s: replace(s, ended=event.at))


@apply.register
def _(body: ev.StopAsked, state: ConversationState, event: Event) -> ConversationState:
    return with_turn(state, event.run, lambda t: replace(t, stopping=body.mode))


@apply.register
def _(body: ev.Interrupted, state: ConversationState, event: Event) -> ConversationState:
    return with_turn(state, event.run, lambda t: replace(t, interrupted=body))


@apply.register
def _(body: ev.Failed, state: ConversationState, event: Event) -> ConversationState:
    return with_turn(state, event.run, lambda t: replace(t, failure=body))


def ended(turn: Turn, body: ev.TurnEnd | ev.LaneEnd, at: float) -> Turn:
    """A turn or a lane that is over, and so waits for nothing."""
    return replace(
        turn,
        status=body.status,
        answer=body.answer,
        ended=at,
        paused=None,
        away=None,
        pausing=False,
    )


def resumed(turn: Turn, at: float) -> Turn:
    """A turn or a lane at work again after its last finished step."""
    # A step that never ended is run again, so what it had written is dropped; unless calls of
    # it had begun: they happened, and the model has to know.
    done = tuple(
        s if s.ended else replace(s, ended=at)
        for s in turn.steps
        if s.ended or any(tool.started for tool in s.tools)
    )
    begun_anew = [s for s in turn.steps if not s.ended and s.span not in {d.span for d in done}]
    # What a person said in it is said again; what its replies took was taken.
    said = (note for s in begun_anew for note in s.notes if isinstance(note, ev.MessageTaken))
    again = tuple(ev.MessageQueued(one.id, one.text) for one in said)
    lost = tuple(call for s in begun_anew for call in s.calls)
    counted = len(done) if turn.status == "budget" else turn.counted_from
    return replace(
        turn, status="running", ended=0.0, answer="", steps=done,
        stopping=None, interrupted=None, failure=None, counted_from=counted,
        queued=(*again, *turn.queued), lost=() if turn.status == "budget" else (*turn.lost, *lost),
    )  # fmt: skip


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
