"""The program's own decisions in words for people: one table for window, terminal and trace."""

from __future__ import annotations

from app import events as ev


def remark(body: object) -> tuple[str, str] | None:
    """(code, text) of an event that is shown as a line of its own; None for all others."""
    match body:
        case ev.NoteGiven(code, text):
            return f"note_{code}", f"Told the model: {text}"
        case ev.ThinkingCut(tokens):
            return "thinking_cut", f"Thinking ended at its limit, after {tokens:,} tokens"
        case ev.Concluding(code, message):
            return f"conclude_{code}", f"Concluding: {message}"
        case ev.ClockJumped(seconds):
            return "clock_jumped", f"Nothing ran for {seconds:,.0f} s; no limit counts them"
    return None
