"""How a turn that did not come to its end is brought to one.

Whatever stopped it (a person, a budget, an error, the death of the process), the same function
says which events are missing, from the state alone; so every record ends in the same form.
"""

from __future__ import annotations

from app import events as ev
from app.state import Step, Turn

CANCELLED = "error: cancelled before it ended"
"""What the model reads of a call that was cut off."""


def missing_ends(turn: Turn, now: float) -> list[tuple[ev.Body, str]]:
    """(event, span) of everything in ``turn`` that began and did not end, in order.

    The step itself is left open on purpose: going on starts again after the last finished step.
    """
    return [item for step in turn.steps if not step.ended for item in _of_step(step, now)]


def _of_step(step: Step, now: float) -> list[tuple[ev.Body, str]]:
    ends: list[ev.Body] = [
        ev.PartEnd(part.id, part.text, part.tokens, max(0.0, now - part.began))
        for part in step.parts
        if part.open
    ]
    if step.call is not None and not step.call.ended:
        ends.append(ev.ModelCallEnd(finish_reason="abort", seconds=max(0.0, now - step.call.began)))
    ends.extend(
        ev.ToolEnded(tool.call, "cancelled", CANCELLED, max(0.0, now - tool.proposed))
        for tool in step.tools
        if tool.status is None
    )
    return [(end, step.span) for end in ends]
