"""What a person does to a run at work."""

from __future__ import annotations

from dataclasses import replace

from app import events as ev
from app.events import Event
from app.state.folding.model import without_parts
from app.state.folding.within import apply, with_step, with_tool, with_turn
from app.state.values import ConversationState, Step, ToolRun, Turn


@apply.register
def _(body: ev.BreakpointsSet, state: ConversationState, event: Event) -> ConversationState:
    return replace(state, breakpoints=body.points)


@apply.register
def _(body: ev.PauseAsked, state: ConversationState, event: Event) -> ConversationState:
    return with_turn(state, event.run, lambda t: replace(t, pausing=True))


@apply.register
def _(body: ev.Paused, state: ConversationState, event: Event) -> ConversationState:
    return with_turn(state, event.run, lambda t: replace(t, paused=body, pausing=False))


@apply.register
def _(body: ev.Continued, state: ConversationState, event: Event) -> ConversationState:
    return with_turn(state, event.run, lambda t: replace(t, paused=None, away=None, pausing=False))


@apply.register
def _(body: ev.MessageQueued, state: ConversationState, event: Event) -> ConversationState:
    return with_turn(state, event.run, lambda t: replace(t, queued=(*t.queued, body)))


@apply.register
def _(body: ev.MessageTaken, state: ConversationState, event: Event) -> ConversationState:
    state = with_turn(state, event.run, lambda t: _without(t, body.id))
    return with_step(state, event, lambda s: replace(s, notes=(*s.notes, body)))


@apply.register
def _(body: ev.MessageWithdrawn, state: ConversationState, event: Event) -> ConversationState:
    return with_turn(state, event.run, lambda t: _without(t, body.id))


@apply.register
def _(body: ev.ArgumentsEdited, state: ConversationState, event: Event) -> ConversationState:
    def edit(tool: ToolRun) -> ToolRun:
        written = tool.arguments if tool.written is None else tool.written
        return replace(tool, arguments=body.arguments, written=written)

    return with_tool(state, event, body.call, edit)


@apply.register
def _(body: ev.ResultEdited, state: ConversationState, event: Event) -> ConversationState:
    def edit(tool: ToolRun) -> ToolRun:
        returned = tool.result if tool.returned is None else tool.returned
        return replace(tool, result=body.result, returned=returned)

    return with_tool(state, event, body.call, edit)


@apply.register
def _(body: ev.ReasoningEdited, state: ConversationState, event: Event) -> ConversationState:
    def edit(step: Step) -> Step:
        if step.call is not None and step.call.ended:
            return replace(step, reasoning=body.text)
        return without_parts(step)

    return with_step(state, event, edit)


def _without(turn: Turn, message: str) -> Turn:
    """Without a message that waited to be heard."""
    return replace(turn, queued=tuple(one for one in turn.queued if one.id != message))
