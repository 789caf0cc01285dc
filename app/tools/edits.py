"""Writing and editing files of the folder: shown before it is done, and undone by a person."""

from __future__ import annotations

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import events as ev
from app.errors import RequestError, ToolError
from app.store.blobs import Blobs, blob_id
from app.tools import beneath
from app.tools.base import Outside, Risk, Target, ToolContext
from app.tools.difference import unified
from engine.protocol import FunctionSpec, ToolSpec

_PATH = {"type": "string", "minLength": 1, "description": "relative to the folder"}
MOST_EDITS = 100


@dataclass(frozen=True, slots=True)
class _Change:
    """A file before and after; ``before`` None: there is none."""

    path: str
    before: bytes | None
    after: bytes

    def diff(self) -> str:
        old = None if self.before is None else _text(self.before, self.path)
        return unified(old, _text(self.after, self.path), self.path)


class _Editing(ABC):
    """What both have in common: a change is worked out, shown, made and recorded."""

    read_only = False
    asks = True
    risk: Risk = "write"
    outside: Outside = "never"

    @abstractmethod
    def plan(self, folder: Path, arguments: dict[str, Any]) -> _Change:
        """What it would do. Blocking; raises ToolError, OSError."""

    def question(self, arguments: dict[str, Any], context: ToolContext) -> str:
        """What a person is asked."""
        return f"Change {arguments.get('path', 'a file')}?"

    def targets(self, arguments: dict[str, Any], context: ToolContext) -> tuple[Target, ...]:
        """The file."""
        name = str(arguments.get("path", ""))
        path = str(context.folder / name) if context.folder else name
        return (Target("path", path),)

    async def preview(self, arguments: dict[str, Any], context: ToolContext) -> str:
        """The change, or why there will be none."""
        folder = _folder(context)
        try:
            return await asyncio.to_thread(lambda: self.plan(folder, arguments).diff())
        except ToolError as error:
            return f"({error.message})"
        except OSError as error:
            return f"({error.strerror})"

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        folder = _folder(context)
        try:
            change, event = await asyncio.to_thread(self._make, folder, arguments, context)
        except OSError as error:
            name = arguments.get("path", "it")
            raise ToolError("unwritable", f"cannot write {name}: {error.strerror}") from error
        if event is None:
            return f"{change.path} is as wanted already; nothing was changed"
        context.record(event)
        lines = len(change.after.splitlines())
        verb = "made" if change.before is None else "changed"
        return f"{verb} {change.path}: now {lines:,} lines, {len(change.after):,} bytes"

    async def forget(self, conversation: str) -> None:
        """Nothing is kept here."""
        return None

    async def close(self) -> None:
        """Nothing is kept here."""
        return None

    def _make(
        self, folder: Path, arguments: dict[str, Any], context: ToolContext
    ) -> tuple[_Change, ev.FileChanged | None]:
        change = self.plan(folder, arguments)
        if change.before == change.after:
            return change, None
        diff = change.diff()
        # First what is overwritten is kept, then it is overwritten.
        before = None if change.before is None else _kept(context.blobs, change.before)
        beneath.write(folder, change.path, change.after)
        return change, ev.FileChanged(
            context.call,
            secrets.token_hex(8),
            change.path,
            before,
            blob_id(change.after),
            diff,
            str(folder.resolve()),
        )


class WriteFile(_Editing):
    """``write_file(path, content)``: a whole file, new or in another's place."""

    spec = ToolSpec(
        FunctionSpec(
            "write_file",
            "Write a text file in the folder: a new one, or all of an old one anew.",
            {
                "type": "object",
                "properties": {"path": _PATH, "content": {"type": "string"}},
                "required": ["path", "content"],
                "additionalProperties": False,
            },
        )
    )

    def plan(self, folder: Path, arguments: dict[str, Any]) -> _Change:
        name = beneath.relative(folder, arguments["path"])
        before = beneath.read(folder, name)
        if before is not None:
            _text(before, name)  # only texts are replaced: nobody could judge another change
        return _Change(name, before, _bytes(arguments["content"], name))


class EditFile(_Editing):
    """``edit_file(path, edits)``: each replaces a text that is there exactly once."""

    spec = ToolSpec(
        FunctionSpec(
            "edit_file",
            "Replace parts of a text file in the folder, in order. Each old text must be there "
            "exactly once, unless all of its places are meant.",
            {
                "type": "object",
                "properties": {
                    "path": _PATH,
                    "edits": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": MOST_EDITS,
                        "items": {
                            "type": "object",
                            "properties": {
                                "old": {"type": "string", "minLength": 1},
                                "new": {"type": "string"},
                                "all": {"type": "boolean"},
                            },
                            "required": ["old", "new"],
                            "additionalProperties": False,
                        },
                    },
                },
                "required": ["path", "edits"],
                "additionalProperties": False,
            },
        )
    )

    def plan(self, folder: Path, arguments: dict[str, Any]) -> _Change:
        name = beneath.relative(folder, arguments["path"])
        before = beneath.read(folder, name)
        if before is None:
            raise ToolError("no_such_file", f"no file named {name}")
        text = _text(before, name)
        for number, edit in enumerate(arguments["edits"], 1):
            text = _replaced(text, edit["old"], edit["new"], edit.get("all", False), number)
        return _Change(name, before, _bytes(text, name))


def undo(folder: Path, change: ev.FileChanged, blobs: Blobs) -> None:
    """Bring back what was there before a change. Blocking.

    Raises RequestError ``changed_since`` if the file is no longer as the change left it,
    ``not_kept`` if the earlier content is gone, ``cannot_undo`` if the file system refuses.
    """
    try:
        now = beneath.read(folder, change.path)
        if now is None or blob_id(now) != change.after:
            raise RequestError(
                "changed_since",
                f"{change.path} was changed after this call",
                "undo later changes first, or edit the file yourself",
            )
        if change.before is None:
            beneath.remove(folder, change.path)
            return
        before = blobs.get(change.before)
        if before is None:
            raise RequestError("not_kept", f"what {change.path} was before is no longer kept")
        beneath.write(folder, change.path, before)
    except ToolError as error:
        raise RequestError("cannot_undo", error.message) from None
    except OSError as error:
        raise RequestError(
            "cannot_undo", f"cannot write {change.path}: {error.strerror}"
        ) from error


def _folder(context: ToolContext) -> Path:
    if context.folder is None:
        raise ToolError("no_folder", "no folder is open")
    return context.folder


def _text(data: bytes, name: str) -> str:
    try:
        if b"\0" not in data:
            return data.decode()
    except UnicodeDecodeError:
        pass
    raise ToolError("not_text", f"{name} is not a text file in UTF-8")


def _bytes(text: str, name: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise ToolError("not_text", "the text has characters that cannot be written") from None
    if len(data) > beneath.LARGEST:
        raise ToolError("too_large", f"{name} would be larger than {beneath.LARGEST >> 20} MiB")
    if b"\0" in data:
        raise ToolError("not_text", "the text has characters that cannot be written")
    return data


def _replaced(text: str, old: str, new: str, everywhere: bool, number: int) -> str:
    if old not in text and "\r\n" in text:  # models write plain line feeds
        old, new = (part.replace("\r\n", "\n").replace("\n", "\r\n") for part in (old, new))
    count = text.count(old)
    if not count:
        raise ToolError("no_match", f"edit {number}: its old text is not in the file")
    if count > 1 and not everywhere:
        raise ToolError(
            "many_matches",
            f"edit {number}: its old text is in the file {count} times: quote more around it, or "
            "set all",
        )
    return text.replace(old, new)


def _kept(blobs: Blobs | None, data: bytes) -> str:
    try:
        return blobs.put(data) if blobs is not None else ""
    except OSError:
        return ""
