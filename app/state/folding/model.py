"""A model call and the parts of its reply."""

from __future__ import annotations

from dataclasses import replace

from app import events as ev
from app.events import Event
from app.state.folding.within import apply, with_call, with_part, with_step
from app.state.values import ConversationState, ModelCall, Part, Step


@apply.register
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

    def begin(step: Step) -> Step:
        earlier = step.earlier if step.call is None else (*step.earlier, step.call)
        return replace(step, call=call, earlier=earlier)

    return with_step(state, event, begin)


@apply.register
def _(body: ev.ModelPrompt, state: ConversationState, event: Event) -> ConversationState:
    before = _call_of(state, event.run, body.after, body.after == event.span)
    parts = (*_first(before.prompt_parts, body.kept), body.text) if before else (body.text,)
    return with_call(
        state, event, lambda c: replace(c, prompt_parts=parts, prompt_tokens=body.tokens)
    )


@apply.register
def _(body: ev.PrefillProgress, state: ConversationState, event: Event) -> ConversationState:
    # Never stored: shown only while the call is open, and cleared at its end.
    return with_call(
        state,
        event,
        lambda c: replace(
            c,
            prefill_done=body.done,
            prefill_total=body.total,
            prefill_seconds_left=body.seconds_left,
        ),
    )


@apply.register
def _(body: ev.PartBegin, state: ConversationState, event: Event) -> ConversationState:
    part = Part(body.part, body.kind, began=event.at, call=body.call, name=body.name)

    def begin(step: Step) -> Step:
        call = step.call
        if call is not None and not call.first_part:
            call = replace(call, first_part=event.at)
        return replace(step, call=call, parts=(*step.parts, part))

    return with_step(state, event, begin)


@apply.register
def _(body: ev.PartDelta, state: ConversationState, event: Event) -> ConversationState:
    return with_part(
        state,
        event,
        body.part,
        lambda p: replace(p, text=p.text + body.text, tokens=p.tokens + body.tokens),
    )


@apply.register
def _(body: ev.PartSnapshot, state: ConversationState, event: Event) -> ConversationState:
    return with_part(
        state, event, body.part, lambda p: replace(p, text=body.text, tokens=body.tokens)
    )


@apply.register
def _(body: ev.PartEnd, state: ConversationState, event: Event) -> ConversationState:
    return with_part(
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


@apply.register
def _(body: ev.FormatProblemSeen, state: ConversationState, event: Event) -> ConversationState:
    return with_call(
        state,
        event,
        lambda c: replace(c, problems=(*c.problems, (body.code, body.message))),
    )


@apply.register
def _(body: ev.ModelCallEnd, state: ConversationState, event: Event) -> ConversationState:
    return with_call(
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


def without_parts(step: Step) -> Step:
    """What its model wrote is not read again."""
    return replace(step, parts=tuple(replace(p, discarded=True) for p in step.parts))


def _call_of(
    state: ConversationState, turn: str, span: str, earlier: bool = False
) -> ModelCall | None:
    """The last of a step; ``earlier``: the one before that."""
    found = state.turn(turn) if span else None
    steps = found.steps if found else ()
    calls = next((step.calls for step in reversed(steps) if step.span == span), ())
    calls = calls[:-1] if earlier else calls
    return calls[-1] if calls else None


def _first(parts: tuple[str, ...], characters: int) -> tuple[str, ...]:
    """The beginning of a text in parts; whole parts stay the same objects."""
    for i, part in enumerate(parts):
        if len(part) > characters:
            return (*parts[:i], part[:characters]) if characters else parts[:i]
        characters -= len(part)
    return parts
