"""The program's own decisions in words for people: one table for window, terminal and trace."""

from __future__ import annotations

from functools import singledispatch

from app import events as ev

Words = tuple[str, str]
"""A code, and the text of a line."""


@singledispatch
def remark(body: object) -> Words | None:
    """Of an event that is shown as a line of its own; None for all others."""
    return None


@remark.register
def _(body: ev.NoteGiven) -> Words | None:
    # Who says it is for the model to know; a narrow line has room for what is said.
    return f"note_{body.code}", f"Told the model: {body.text.removeprefix(ev.NOTE_BEGINS)}"


@remark.register
def _(body: ev.ThinkingCut) -> Words | None:
    return "thinking_cut", f"Thinking ended at its limit, after {body.tokens:,} tokens"


@remark.register
def _(body: ev.Concluding) -> Words | None:
    return f"conclude_{body.code}", f"Concluding: {body.message}"


@remark.register
def _(body: ev.ClockJumped) -> Words | None:
    return "clock_jumped", f"Nothing ran for {body.seconds:,.0f} s; no limit counts them"


@remark.register
def _(body: ev.FileRestored) -> Words | None:
    return "file_restored", f"{body.path} was put back as it had been"


@remark.register
def _(body: ev.Retrying) -> Words | None:
    again = f"trying again in {body.wait:.1f} s"
    return f"retry_{body.code}", f"Attempt {body.attempt} failed ({body.message}); {again}"


@remark.register
def _(body: ev.EndpointLost) -> Words | None:
    return "endpoint_lost", f"Waiting for {body.endpoint} to answer again ({body.message})"


@remark.register
def _(body: ev.EndpointBack) -> Words | None:
    after = f"after {span(body.seconds)}; the step begins anew"
    if body.by == "person":
        return "endpoint_tried", f"Trying {body.endpoint} again, as you wish, {after}"
    return "endpoint_back", f"{body.endpoint} answers again {after}"


def span(seconds: float) -> str:
    """A stretch of time for people: ``40 s``, ``12 min``, ``3 h 5 min``."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


@remark.register
def _(body: ev.RepairAsked) -> Words | None:
    pairs = zip(body.calls, body.problems, strict=False)
    wrong = "; ".join(f"{name}: {why}" for name, why in pairs)
    times = f" ({body.count} times in this run)" if body.count > 1 else ""
    return "repair", f"Calls did not fit ({wrong}); asked to write them again{times}"


@remark.register
def _(body: ev.FormatProblemSeen) -> Words | None:
    if body.code != "leaked_markers":
        return None  # those stand at their call
    return body.code, f"{body.message[:1].upper()}{body.message[1:]}"


_LOOP = {
    "told": "{call} gave the same result {times} times; the model is told",
    "forbidden": "{call}: the engine does not let the model write that call again",
    "refused": "{call} was not run: it had given the same result {times} times",
    "heated": "It insists on calls that were refused; the next step samples differently",
    "concluded": "It goes on insisting; the run is concluded",
}


@remark.register
def _(body: ev.LoopSeen) -> Words | None:
    return f"loop_{body.stage}", _LOOP[body.stage].format(call=body.call, times=body.count)


@remark.register
def _(body: ev.ToolUnavailable) -> Words | None:
    why = f"it failed {body.failures} times in a row"
    return "tool_unavailable", f"{body.name} rests until step {body.until + 1}: {why}"


@remark.register
def _(body: ev.DriftSeen) -> Words | None:
    return f"drift_{body.code}", f"It may be losing its way: {body.message}"


@remark.register
def _(body: ev.ContextHidden) -> Words | None:
    size = f"{body.tokens_before:,} of {body.window:,} tokens were used"
    count = len(body.calls)
    what = "an older result" if count == 1 else f"{count} older results"
    return "context_hidden", f"Hid {what} from the model: {size}"


@remark.register
def _(body: ev.ContextSummarised) -> Words | None:
    size = f"{body.tokens_before:,} tokens were used, now {body.tokens_after:,}"
    return "context_summarised", f"Older steps became notes: {size}"


@remark.register
def _(body: ev.PlanChanged) -> Words | None:
    done = sum(item.status in ("done", "dropped") for item in body.items)
    doing = next((f": {item.text}" for item in body.items if item.status == "doing"), "")
    return "plan", f"Plan: {done} of {len(body.items)} done{doing}"


@remark.register
def _(body: ev.LanesCompared) -> Words | None:
    if body.by == "nobody":
        return "lanes", f"{body.of} lanes answered; nobody said how far they agree"
    how = "" if body.by == "answers" else ", as the model judges"
    return "lanes", f"{len(body.agree)} of {body.of} lanes agree{how}"


@remark.register
def _(body: ev.MessageWithdrawn) -> Words | None:
    return "message_withdrawn", "You took a message back"


@remark.register
def _(body: ev.Paused) -> Words | None:
    return "paused", f"Paused: {body.reason}"


@remark.register
def _(body: ev.Continued) -> Words | None:
    return "continued", "One step further" if body.mode == "step" else "Continued"


@remark.register
def _(body: ev.MessageQueued) -> Words | None:
    return "message_queued", f"For the next step: {body.text}"


@remark.register
def _(body: ev.MessageTaken) -> Words | None:
    return "message_taken", f"You: {body.text}"


@remark.register
def _(body: ev.ArgumentsEdited) -> Words | None:
    return "arguments_edited", f"You changed the arguments of {body.call}"


@remark.register
def _(body: ev.ResultEdited) -> Words | None:
    return "result_edited", f"You changed the result of {body.call}"


@remark.register
def _(body: ev.ReasoningEdited) -> Words | None:
    return "reasoning_edited", "You changed the reasoning"


@remark.register
def _(body: ev.FormAsked) -> Words | None:
    return "form_asked", f"{body.server} asks: {' '.join(body.message.split())[:300]}"


_FORM = {"accept": "Answered", "decline": "Declined", "cancel": "Dismissed"}


@remark.register
def _(body: ev.FormAnswered) -> Words | None:
    return "form_answered", f"{_FORM[body.action]} what {body.server} asked"


@remark.register
def _(body: ev.ToolsMissing) -> Words | None:
    return "tools_missing", f"Without the tools of {body.server}: {body.message}"


@remark.register
def _(body: ev.UnattendedSet) -> Words | None:
    if body.scope is None:
        return "unattended_end", "You are asked again"
    if not body.scope.allow:
        return "unattended", "Nobody is asked: calls that would ask are denied"
    allow = ", ".join(body.scope.allow)
    return "unattended", f"Nobody is asked; allowed: {allow}"


_GUARD = {"block": "held back", "ask": "asks", "redact": "blacked out", "note": "noticed"}


@remark.register
def _(body: ev.GuardHit) -> Words | None:
    place = {"input": "your message", "output": "the reply", "call": body.call, "result": body.call}
    text = f"Guard {body.guard}, {place[body.where]}: {_GUARD[body.action]}: {body.message}"
    return f"guard_{body.action}", text
