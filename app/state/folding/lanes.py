"""The lanes of a turn, and how far they agree."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from app import events as ev
from app.events import Event
from app.state.folding.turn import ended, resumed
from app.state.folding.within import apply, with_turn
from app.state.values import ConversationState, Turn


@apply.register
def _(body: ev.LaneBegin, state: ConversationState, event: Event) -> ConversationState:
    def begin(turn: Turn) -> Turn:
        settings = msgspec.structs.replace(turn.settings, seed=body.seed, lanes=1)
        lane = Turn(body.lane, turn.parent, turn.text, settings, began=event.at, number=body.number)
        return replace(turn, lanes=(*turn.lanes, lane))

    return with_turn(state, event.run, begin)


@apply.register
def _(body: ev.LaneResumed, state: ConversationState, event: Event) -> ConversationState:
    return with_turn(state, body.lane, lambda t: replace(resumed(t, event.at), lane_end=None))


@apply.register
def _(body: ev.LaneEnd, state: ConversationState, event: Event) -> ConversationState:
    return with_turn(state, body.lane, lambda t: replace(ended(t, body, event.at), lane_end=body))


@apply.register
def _(body: ev.LanesCompared, state: ConversationState, event: Event) -> ConversationState:
    return with_turn(state, event.run, lambda t: replace(t, agreement=body))
