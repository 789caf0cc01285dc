"""Tool calls, their approvals, and what they brought, made and changed."""

from __future__ import annotations

from dataclasses import replace

from app import events as ev
from app.events import Event
from app.state.folding.within import apply, with_step, with_tool, with_turn
from app.state.values import ConversationState, Step, ToolRun, Turn


@apply.register
def _(body: ev.ToolProposed, state: ConversationState, event: Event) -> ConversationState:
    run = ToolRun(
        body.call,
        body.name,
        body.arguments,
        proposed=event.at,
        problem=body.problem,
        repeats=body.repeats,
    )
    return with_step(state, event, lambda s: replace(s, tools=(*s.tools, run)))


@apply.register
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

    return with_tool(state, event, body.call, ask)


@apply.register
def _(body: ev.ApprovalAnswered, state: ConversationState, event: Event) -> ConversationState:
    return with_tool(
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


@apply.register
def _(body: ev.UnattendedSet, state: ConversationState, event: Event) -> ConversationState:
    if event.run:
        return with_turn(state, event.run, lambda t: replace(t, unattended=body.scope))
    return replace(state, unattended=body.scope)


@apply.register
def _(body: ev.ToolStarted, state: ConversationState, event: Event) -> ConversationState:
    return with_tool(state, event, body.call, lambda t: replace(t, started=event.at))


@apply.register
def _(body: ev.ToolOutput, state: ConversationState, event: Event) -> ConversationState:
    return with_tool(state, event, body.call, lambda t: replace(t, output=t.output + body.text))


@apply.register
def _(body: ev.ToolEnded, state: ConversationState, event: Event) -> ConversationState:
    if _is_plan(state, event, body.call):
        state = with_turn(state, event.run, lambda t: replace(t, plan_call=body.call))
    return with_tool(
        state,
        event,
        body.call,
        lambda t: replace(t, status=body.status, result=body.result, seconds=body.seconds),
    )


@apply.register
def _(body: ev.ArtefactMade, state: ConversationState, event: Event) -> ConversationState:
    return with_tool(state, event, body.call, lambda t: replace(t, artefacts=(*t.artefacts, body)))


@apply.register
def _(body: ev.FileChanged, state: ConversationState, event: Event) -> ConversationState:
    return with_tool(state, event, body.call, lambda t: replace(t, changes=(*t.changes, body)))


@apply.register
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


def _is_plan(state: ConversationState, event: Event, call: str) -> bool:
    turn = state.turn(event.run)
    tools = turn.steps[-1].tools if turn and turn.steps else ()
    return any(tool.call == call and tool.name == "plan" for tool in tools)
