"""What the program decided: attempts that do not count, waits, the window, the plan."""

from __future__ import annotations

from dataclasses import replace

from app import events as ev
from app.events import Event
from app.state.folding.model import without_parts
from app.state.folding.within import apply, with_step, with_turn
from app.state.values import Away, ContextChange, ConversationState, Summary, Turn


@apply.register
def _(body: ev.NoteGiven, state: ConversationState, event: Event) -> ConversationState:
    return with_step(state, event, lambda s: replace(s, notes=(*s.notes, body)))


@apply.register(ev.RepairAsked)
@apply.register(ev.Retrying)
def _(body: object, state: ConversationState, event: Event) -> ConversationState:
    return with_step(state, event, without_parts)


@apply.register
def _(body: ev.EndpointLost, state: ConversationState, event: Event) -> ConversationState:
    state = with_step(state, event, without_parts)
    paused = ev.Paused("endpoint", body.message)
    away = Away(event.at, body)
    return with_turn(state, event.run, lambda t: replace(t, paused=paused, away=away))


@apply.register
def _(body: ev.EndpointLooked, state: ConversationState, event: Event) -> ConversationState:
    # Never stored: shown only while the run waits, and gone when it does not.
    def look(turn: Turn) -> Turn:
        if turn.away is None:
            return turn
        again = replace(turn.away, looks=body.looks, next_look=event.at + body.wait)
        return replace(turn, away=again)

    return with_turn(state, event.run, look)


@apply.register
def _(body: ev.EndpointBack, state: ConversationState, event: Event) -> ConversationState:
    return with_turn(state, event.run, lambda t: replace(t, paused=None, away=None))


@apply.register
def _(body: ev.ContextHidden, state: ConversationState, event: Event) -> ConversationState:
    calls = frozenset(body.calls)
    change = ContextChange(event.at, event.span, body)
    return with_turn(
        state,
        event.run,
        lambda t: replace(t, hidden=t.hidden | calls, context=(*t.context, change)),
    )


@apply.register
def _(body: ev.ContextSummarised, state: ConversationState, event: Event) -> ConversationState:
    summary = Summary(body.turn, body.steps, body.text)
    change = ContextChange(event.at, event.span, body)
    return with_turn(
        state,
        event.run,
        lambda t: replace(t, summary=summary, context=(*t.context, change)),
    )


@apply.register
def _(body: ev.PlanChanged, state: ConversationState, event: Event) -> ConversationState:
    return with_turn(state, event.run, lambda t: replace(t, plan=body.items))
