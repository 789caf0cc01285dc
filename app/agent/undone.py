"""The model is told of its changes of files that a person undid, before it builds on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.agent import notes
from app.agent.repeats import key_of
from app.agent.run import Run
from app.events import FileChanged, NoteGiven
from app.state import Step, ToolRun, Turn


def tell_undone(run: Run, span: str) -> None:
    """Before the reply of a step: of those on this branch that were not told of."""
    found = untold(run.path())
    if not found:
        return
    for tool, _ in found:
        # The file is another again, so that doing it once more is no repetition.
        run.repeats.forget(key_of(tool.name, tool.arguments))
    run.emit(notes.undone(found), span)


def untold(path: Sequence[Turn]) -> list[tuple[ToolRun, FileChanged]]:
    """Calls, and of each a change that was undone and that no note speaks of, oldest first."""
    told: set[str] = set()
    for step in _steps(path):
        for note in step.notes:
            if isinstance(note, NoteGiven):
                told.update(note.about)
    return [
        (tool, change)
        for step in _steps(path)
        for tool in step.tools
        for change in tool.changes
        if change.change in tool.undone and change.change not in told
    ]


def _steps(path: Sequence[Turn]) -> Iterator[Step]:
    """Those of lanes, too: what they did is in the answer that was made of theirs."""
    for turn in path:
        for one in (*turn.lanes, turn):
            yield from one.steps
