"""How a turn that did not come to its end is brought to one.

Whatever stopped it (a person, a budget, an error, the death of the process), the same function
says which events are missing, from the state alone; so every record ends in the same form.
"""

from __future__ import annotations

from app import events as ev
from app.state import Step, ToolRun, Turn
from engine.protocol import CompletionTokensDetails, Usage

CANCELLED = "error: cancelled before it ended"
"""What the model reads of a call that was cut off."""
NOT_BEGUN = "error: not run: the run was cut off before this call began"
UNKNOWN = (
    "error: outcome unknown: the program ended while this call ran. It may have had its effect or "
    "not; find out before you do it again"
)
"""Of a call that was running when the process died."""


def missing_ends(turn: Turn, now: float, died: bool = False) -> list[tuple[ev.Body, str]]:
    """(event, span) of everything in ``turn`` that began and did not end, in order.

    ``died``: the process is gone that ran it. The step itself is left open on purpose: whoever goes
    on decides what becomes of it.
    """
    return [item for step in turn.steps if not step.ended for item in _of_step(step, now, died)]


def _of_step(step: Step, now: float, died: bool) -> list[tuple[ev.Body, str]]:
    ends: list[ev.Body] = [
        ev.PartEnd(part.id, part.text, part.tokens, max(0.0, now - part.began))
        for part in step.parts
        if part.open
    ]
    if step.call is not None and not step.call.ended:
        seconds = max(0.0, now - step.call.began)
        ends.append(ev.ModelCallEnd("abort", _written(step), seconds=seconds))
    ends.extend(_of_tool(tool, now, died) for tool in step.tools if tool.status is None)
    return [(end, step.span) for end in ends]


def _written(step: Step) -> Usage:
    """What its reply took, as far as it came and the endpoint told."""
    parts = [part for part in step.parts if not part.discarded]
    thought = sum(part.tokens for part in parts if part.kind == "reasoning")
    return Usage(
        completion_tokens=sum(part.tokens for part in parts),
        completion_tokens_details=CompletionTokensDetails(thought),
    )


def _of_tool(tool: ToolRun, now: float, died: bool) -> ev.ToolEnded:
    if not tool.started:
        return ev.ToolEnded(tool.call, "cancelled", NOT_BEGUN)
    seconds = max(0.0, now - tool.started)
    if died:
        return ev.ToolEnded(tool.call, "unknown", UNKNOWN, seconds)
    return ev.ToolEnded(tool.call, "cancelled", CANCELLED, seconds)
