"""What the program tells a model in the middle of its work."""

from __future__ import annotations

from collections.abc import Sequence

from app import events as ev
from app.agent.budget import Share
from app.state import ToolRun

CHANGED = "(The user changed the arguments of this call before it ran.)\n"
"""Before the result of such a call."""
_QUOTED = 12_000
"""Characters of cut reasoning that are told again, from its end."""


def budget_near(share: Share) -> ev.NoteGiven:
    return _note(
        "budget_near",
        f"{share.words()} are used. Bring the work to a conclusion: do what matters most, then "
        "answer.",
    )


def thinking_cut(reasoning: str) -> ev.NoteGiven:
    """After reasoning that was cut where the endpoint could not close it itself."""
    return _note(
        "thinking_cut",
        "Your thinking reached the limit of one step. Go on from it without thinking it over "
        "again: call a tool or answer." + _quote(reasoning),
    )


def go_on_from(reasoning: str) -> ev.NoteGiven:
    """After a person changed the reasoning of a reply that was being written."""
    return _note(
        "reasoning",
        "The user stopped you and changed your thinking. Go on from it as it now stands."
        + _quote(reasoning),
    )


def say_something(reasoning: str) -> ev.NoteGiven:
    """After replies that held nothing but reasoning."""
    return _note(
        "empty_reply",
        "You thought, but neither answered nor called a tool. Do one of the two now."
        + _quote(reasoning),
    )


def conclude(why: str, reasoning: str) -> ev.NoteGiven:
    """Before the last reply of a run that cannot go on."""
    return _note(
        "conclude",
        f"The run ends here: {why}. Call no tool. Answer now from what is known so far, and say "
        "plainly what is missing or uncertain." + _quote(reasoning),
    )


def undone(changes: Sequence[tuple[ToolRun, ev.FileChanged]]) -> ev.NoteGiven:
    """After a person undid changes of files; each with the call that made it."""
    what = "; ".join(_undone(tool.call, change) for tool, change in changes)
    return ev.NoteGiven(
        "file_restored",
        f"{ev.NOTE_BEGINS}the user undid changes of yours: {what}. Do not make them again unless "
        "the user asks for it, and read a file before you go on from it.",
        tuple(change.change for _, change in changes),
    )


def _undone(call: str, change: ev.FileChanged) -> str:
    if change.before is None:
        return f"{change.path}, which {call} had made, is removed again"
    return f"{change.path} is as it was before {call}"


def _note(code: str, text: str) -> ev.NoteGiven:
    return ev.NoteGiven(code, f"{ev.NOTE_BEGINS}{text}")


def _quote(reasoning: str) -> str:
    text = reasoning.strip()
    if not text:
        return ""
    if len(text) > _QUOTED:
        text = "… " + text[-_QUOTED:]
    return f'\n\nYour thinking so far:\n"""\n{text}\n"""'
