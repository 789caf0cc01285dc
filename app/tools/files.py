"""The file tools: list, read and search the folder that a person opened, and nothing outside it."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from app.errors import ToolError
from app.tools.base import Outside, Risk, ToolContext
from app.tools.beneath import open_file, open_folder, relative
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
        descriptor = open_folder(folder, name)
        try:
            with os.scandir(descriptor) as entries:
                names = sorted(_listed(entry) for entry in entries)
        finally:
            os.close(descriptor)
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
        first, count = arguments.get("start", 1), arguments.get("lines")
        taken: list[str] = []
        room = MOST_TEXT
        for number, line in enumerate(text_lines(open_file(folder, name), name), 1):
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
        query = arguments["query"].casefold()
        hits: list[str] = []
        for looked, (path, descriptor) in enumerate(_below(folder, name), 1):
            if stopped.is_set():
                os.close(descriptor)
                break
            if looked > MOST_SEARCHED:
                os.close(descriptor)
                hits.append(f"(only the first {MOST_SEARCHED} files were searched)")
                break
            hits += _hits(descriptor, path, query)
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


def text_lines(descriptor: int, name: str) -> Iterator[str]:
    """Lines of a text file without their ends; closes it. Raises ToolError if it is none."""
    with open(descriptor, "rb") as file:
        head = file.peek(8192)[:8192]
        if b"\0" in head:
            raise ToolError("not_text", f"{name} is not a text file")
        decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        while line := file.readline(MOST_TEXT):
            yield decode(line).rstrip("\r\n")


def _below(folder: Path, name: str) -> Iterator[tuple[str, int]]:
    """Files of a folder, or the one that is named, opened one by one; see :func:`_files`."""
    path = os.path.normpath(relative(folder, name))
    try:
        start = open_folder(folder, name)
    except ToolError as error:
        if error.code != "no_such_folder":
            raise
        try:
            found = open_file(folder, name)
        except ToolError as missing:
            raise (error if missing.code == "no_such_file" else missing) from None
        yield path, found
        return
    yield from _files(start, "" if path == "." else f"{path}/")


def _files(folder: int, before: str) -> Iterator[tuple[str, int]]:
    """Regular files below a folder in order of their names, opened; links are not followed. Closes
    the folder.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=_listed)
        for entry in entries:
            if entry.name.startswith(".") or entry.name in _SKIPPED:
                continue
            is_folder = entry.is_dir(follow_symlinks=False)
            if not is_folder and not entry.is_file(follow_symlinks=False):
                continue
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with contextlib.suppress(OSError):  # not ours to read, or gone
                opened = os.open(entry.name, flags | os.O_DIRECTORY * is_folder, dir_fd=folder)
                if is_folder:
                    yield from _files(opened, f"{before}{entry.name}/")
                else:
                    yield before + entry.name, opened
    finally:
        os.close(folder)


def _listed(entry: os.DirEntry[str]) -> str:
    """Its name, with a slash if it is a folder."""
    try:
        return entry.name + ("/" if entry.is_dir() else "")
    except OSError:  # a loop of links
        return entry.name


def _hits(descriptor: int, name: str, query: str) -> list[str]:
    found: list[str] = []
    about = os.fstat(descriptor)
    if about.st_size > LARGEST_SEARCHED or not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        return []
    try:
        for number, line in enumerate(text_lines(descriptor, name), 1):
            if query in line.casefold():
                cut = line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "…"
                found.append(f"{name}:{number}: {cut}")
                if len(found) > MOST_HITS:
                    break
    except (OSError, ToolError):  # not ours to read, or not text
        return found
    return found
