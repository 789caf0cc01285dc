"""A person takes back what a call did to a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

from app import events as ev
from app.errors import RequestError
from app.store.blobs import Blobs
from app.store.journal import Journal
from app.tools.edits import undo


async def undo_change(journal: Journal, blobs: Blobs, conversation: str, change: str) -> None:
    """Restore the file and say so in the journal, with the step the change belongs to.

    Raises RequestError ``no_change``, ``undone``, ``changed_since``, ``not_kept``, ``cannot_undo``.
    """
    turns = journal.state(conversation).turns
    for turn in (lane for one in turns for lane in (one, *one.lanes)):
        for step in turn.steps:
            for tool in step.tools:
                found = next((one for one in tool.changes if one.change == change), None)
                if found is None:
                    continue
                if change in tool.undone:
                    raise RequestError("undone", f"this change of {found.path} is undone already")
                await asyncio.to_thread(undo, Path(found.folder), found, blobs)
                restored = ev.FileRestored(change, found.path)
                journal.append(conversation, restored, turn.id, step.span)
                return
    raise RequestError("no_change", f"there is no change {change!r} in this conversation")
