"""Calls that do not fit their tools: the model is asked once more before any of them counts."""

from __future__ import annotations

from dataclasses import dataclass

from app.agent.model_call import Call, Reply
from app.agent.run import Run
from app.errors import ToolError

_QUOTED = 4000
"""Characters of a call that are told again."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A call that cannot be made as it was written."""

    call: Call
    why: str


def faults_of(run: Run, reply: Reply) -> tuple[Fault, ...]:
    """Calls of tools that are not there, and arguments that are no JSON or against the schema."""
    found = []
    for call in reply.calls:
        if run.tool(call.name) is None:
            found.append(Fault(call, "there is no tool of that name"))
            continue
        try:
            run.parse(call.name, call.arguments)
        except ToolError as error:
            found.append(Fault(call, error.message))
    return tuple(found)


def request_for(faults: tuple[Fault, ...]) -> str:
    """What the model is told."""
    told = "\n".join(
        f"{fault.call.name} {fault.call.arguments[:_QUOTED]}\n  -> {fault.why}" for fault in faults
    )
    return (
        "Note from the program, not from the user: your last reply was not used, for it held calls "
        f"that cannot be made:\n{told}\n"
        "Write that reply again with calls that fit their tools' schemas, or answer without them."
    )
