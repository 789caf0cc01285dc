"""The place in a conversation that an event changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import singledispatch

from app.events import Event
from app.state.values import ConversationState, ModelCall, Part, Remark, Step, ToolRun, Turn


@singledispatch
def apply(body: object, state: ConversationState, event: Event) -> ConversationState:
    """What an event does; by default nothing. The modules beside this one add to it."""
    return state


def with_turn(
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


def with_step(
    state: ConversationState, event: Event, change: Callable[[Step], Step]
) -> ConversationState:
    def inner(turn: Turn) -> Turn:
        for i in range(len(turn.steps) - 1, -1, -1):
            if turn.steps[i].span == event.span:
                steps = (*turn.steps[:i], change(turn.steps[i]), *turn.steps[i + 1 :])
                return replace(turn, steps=steps)
        return turn

    return with_turn(state, event.run, inner)


def with_call(
    state: ConversationState, event: Event, change: Callable[[ModelCall], ModelCall]
) -> ConversationState:
    return with_step(
        state, event, lambda s: s if s.call is None else replace(s, call=change(s.call))
    )


def with_part(
    state: ConversationState, event: Event, id: str, change: Callable[[Part], Part]
) -> ConversationState:
    return with_step(
        state,
        event,
        lambda s: replace(s, parts=tuple(change(p) if p.id == id else p for p in s.parts)),
    )


def with_tool(
    state: ConversationState, event: Event, call: str, change: Callable[[ToolRun], ToolRun]
) -> ConversationState:
    return with_step(
        state,
        event,
        lambda s: replace(s, tools=tuple(change(t) if t.call == call else t for t in s.tools)),
    )


def with_remark(state: ConversationState, event: Event, one: Remark) -> ConversationState:
    """With a remark at its step, else at the turn."""

    def inner(turn: Turn) -> Turn:
        if turn.steps and turn.steps[-1].span == event.span:
            last = turn.steps[-1]
            last = replace(last, remarks=(*last.remarks, one))
            return replace(turn, steps=(*turn.steps[:-1], last))
        return replace(turn, remarks=(*turn.remarks, one))

    return with_turn(state, event.run, inner)
