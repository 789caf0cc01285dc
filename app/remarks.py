"""The program's own decisions in words for people: one table for window, terminal and trace."""

from __future__ import annotations

from app import events as ev

_LOOP = {
    "told": "{call} gave the same result {times} times; the model is told",
    "refused": "{call} was not run: it had given the same result {times} times",
    "heated": "It insists on calls that were refused; the next step samples differently",
    "concluded": "It goes on insisting; the run is concluded",
}


def remark(body: object) -> tuple[str, str] | None:
    """(code, text) of an event that is shown as a line of its own; None for all others."""
    match body:
        case ev.NoteGiven(code, text):
            return f"note_{code}", f"Told the model: {text}"
        case ev.ThinkingCut(tokens):
            return "thinking_cut", f"Thinking ended at its limit, after {tokens:,} tokens"
        case ev.Concluding(code, message):
            return f"conclude_{code}", f"Concluding: {message}"
        case ev.Retrying(attempt, wait, code, message):
            text = f"Attempt {attempt} failed ({message}); trying again in {wait:.1f} s"
            return f"retry_{code}", text
        case ev.LoopSeen(call, stage, times):
            return f"loop_{stage}", _LOOP[stage].format(call=call, times=times)
        case ev.ToolUnavailable(name, failures, until):
            text = f"{name} rests until step {until + 1}: it failed {failures} times in a row"
            return "tool_unavailable", text
        case ev.DriftSeen(code, message):
            return f"drift_{code}", f"It may be losing its way: {message}"
        case ev.ContextHidden(calls, before, _, window):
            text = f"Hid {len(calls)} older results from the model: {before:,} of {window:,} tokens"
            return "context_hidden", f"{text} were used"
        case ev.ContextSummarised(tokens_before=before, tokens_after=after):
            text = f"Older steps became notes: {before:,} tokens were used, now {after:,}"
            return "context_summarised", text
        case ev.PlanChanged(items):
            done = sum(item.status in ("done", "dropped") for item in items)
            doing = next((f": {item.text}" for item in items if item.status == "doing"), "")
            return "plan", f"Plan: {done} of {len(items)} done{doing}"
        case ev.ClockJumped(seconds):
            return "clock_jumped", f"Nothing ran for {seconds:,.0f} s; no limit counts them"
    return None
