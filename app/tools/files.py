"""The file tools: list, read and search the folder that a person opened, and nothing outside it."""

from __future__ import annotations

import asyncio
import codecs
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from app.errors import ToolError
from app.tools.base import Outside, Risk, ToolContext
from engine.protocol import FunctionSpec, ToolSpec

MOST_NAMES = 1_000
MOST_TEXT = 60_000
"""Characters that one read returns; ``start`` fetches what follows."""
MOST_HITS = 50
MOST_SEARCHED = 20_000
"""Files that one search looks at."""
LARGEST_SEARCHED = 5_000_000
LONGEST_LINE = 300

_PATH = {"type": "string", "description": "relative to the folder"}
_SKIPPED = frozenset({"__pycache__", "node_modules"})


class _FileTool:
    """What the three have in common: they only read, in a thread of their own."""

    read_only = True
    asks = False
    risk: Risk = "read"
    outside: Outside = "raw"

    def work(self, folder: Path, arguments: dict[str, Any], stopped: threading.Event) -> str:
        """Blocking; returns early when ``stopped`` is set. Raises ToolError, OSError."""
        raise NotImplementedError

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        if context.folder is None:
            raise ToolError("no_folder", "no folder is open")
        stopped = threading.Event()
        try:
            return await asyncio.to_thread(self.work, context.folder, arguments, stopped)
        except OSError as error:
            name = arguments.get("path", ".")
            raise ToolError("unreadable", f"cannot read {name}: {error.strerror}") from error
        finally:
            stopped.set()

    async def forget(self, conversation: str) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is kept."""


class ListFiles(_FileTool):
    """``list_files(path=".")``: one name per line, folders with a slash."""

    outside: Outside = "never"
    spec = ToolSpec(
        FunctionSpec(
            "list_files",
            "List the names in the folder or in a folder inside it. Folders end in a slash.",
            {"type": "object", "properties": {"path": _PATH}, "additionalProperties": False},
        )
    )

    def work(self, folder: Path, arguments: dict[str, Any], stopped: threading.Event) -> str:
        name = arguments.get("path", ".")
        path = inside(folder, name)
        if not path.is_dir():
            raise ToolError("no_such_folder", f"no folder named {name}")
        with os.scandir(path) as entries:
            names = sorted(_listed(entry) for entry in entries)
        left = len(names) - MOST_NAMES
        rest = [f"({left} more names left out)"] if left > 0 else []
        return "\n".join(names[:MOST_NAMES] + rest) or "(empty)"


class ReadFile(_FileTool):
    """``read_file(path, start=1, lines=all)``: a text file, or a part of it by lines."""

    spec = ToolSpec(
        FunctionSpec(
            "read_file",
            "Read a text file in the folder.",
            {
                "type": "object",
                "properties": {
                    "path": _PATH,
                    "start": {"type": "integer", "minimum": 1, "description": "first line"},
                    "lines": {"type": "integer", "minimum": 1, "description": "how many lines"},
                },
                "required": ["path"],
                "additionalProperties": False,
            },
        )
    )

    def work(self, folder: Path, arguments: dict[str, Any], stopped: threading.Event) -> str:
        name = arguments["path"]
        path = inside(folder, name)
        first, count = arguments.get("start", 1), arguments.get("lines")
        taken: list[str] = []
        room = MOST_TEXT
        for number, line in enumerate(text_lines(path, name), 1):
            if stopped.is_set() or (count is not None and number >= first + count):
                break
            if number < first:
                continue
            if len(line) > room:
                where = f"(cut here; read on with start {number})" if taken else "(cut here)"
                taken += [where] if taken else [line[:room], where]
                break
            room -= len(line) + 1
            taken.append(line)
        return "\n".join(taken).rstrip("\n") or "(empty)"


class SearchFiles(_FileTool):
    """``search_files(query, path=".")``: lines that contain the query, whatever its case."""

    spec = ToolSpec(
        FunctionSpec(
            "search_files",
            "Find lines that contain a word or phrase, in all text files of the folder.",
            {
                "type": "object",
                "properties": {"query": {"type": "string", "minLength": 1}, "path": _PATH},
                "required": ["query"],
                "additionalProperties": False,
            },
        )
    )

    def work(self, folder: Path, arguments: dict[str, Any], stopped: threading.Event) -> str:
        name = arguments.get("path", ".")
        start, root = inside(folder, name), folder.resolve()
        if not start.exists():
            raise ToolError("no_such_folder", f"no folder named {name}")
        query = arguments["query"].casefold()
        hits: list[str] = []
        for looked, path in enumerate(_files(start), 1):
            if stopped.is_set():
                break
            if looked > MOST_SEARCHED:
                hits.append(f"(only the first {MOST_SEARCHED} files were searched)")
                break
            hits += _hits(path, path.relative_to(root).as_posix(), query)
            if len(hits) > MOST_HITS:
                hits[MOST_HITS:] = ["(more hits left out; search for something rarer)"]
                break
        return "\n".join(hits) or "no matches"


def inside(folder: Path, name: str) -> Path:
    """The real path of ``name``. Raises ToolError ``outside`` if links or dots lead out."""
    root = folder.resolve()
    if "\0" in name:
        raise ToolError("no_such_file", "no file has such a name")
    try:
        path = (root / (name or ".")).resolve()
    except (OSError, RuntimeError):  # a loop of links
        raise ToolError("no_such_file", f"no file named {name}") from None
    if not path.is_relative_to(root):
        raise ToolError("outside", f"{name} is outside the folder")
    return path


def text_lines(path: Path, name: str) -> Iterator[str]:
    """Lines of a text file without their ends. Raises ToolError if there is none."""
    try:
        # Not to wait for the other end, should it be a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ToolError("no_such_file", f"no file named {name}") from None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ToolError("no_such_file", f"no file named {name}")
        head = file.peek(8192)[:8192]
        if b"\0" in head:
            raise ToolError("not_text", f"{name} is not a text file")
        decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        while line := file.readline(MOST_TEXT):
            yield decode(line).rstrip("\r\n")


def _files(start: Path) -> Iterator[Path]:
    """Regular files below a path in order of their names; links are not followed."""
    if start.is_file():
        yield start
        return
    with os.scandir(start) as found:
        entries = sorted(found, key=_listed)
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _SKIPPED:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)


def _listed(entry: os.DirEntry[str]) -> str:
    """Its name, with a slash if it is a folder."""
    try:
        return entry.name + ("/" if entry.is_dir() else "")
    except OSError:  # a loop of links
        return entry.name


def _hits(path: Path, name: str, query: str) -> list[str]:
    found: list[str] = []
    try:
        if path.stat().st_size > LARGEST_SEARCHED:
            return []
        for number, line in enumerate(text_lines(path, name), 1):
            if query in line.casefold():
                cut = line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "…"
                found.append(f"{name}:{number}: {cut}")
                if len(found) > MOST_HITS:
                    break
    except (OSError, ToolError):  # not ours to read, or not text
        return found
    return found
