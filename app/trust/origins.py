"""Where the targets of a call come from: from the person, or only from what tools brought.

A page or a file may hold sentences that are meant for the model. They cannot be told from data, but
what they want needs a target: a host to send to, a path to read, a command to run. Of each target
it is known whether the person named it.

- Hosts and mail addresses: once anything of others was read, those that the person did not name
  (they may have been written backwards, or in pieces, so nobody looks for the words).
- Paths: the same outside of the person's folder. Inside it only hidden and new files, if a text of
  others names them and the call may change things.
- Commands: if a text of others holds them, or one of their parts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from app.events import MessageTaken
from app.state import ToolRun, Turn
from app.tools.base import Target
from app.trust.call import Wanted

_HARMLESS = ("/dev/null", "/dev/stdin", "/dev/stdout", "/dev/stderr")
_PARTS = re.compile(r"\s*(?:\|\||&&|[;|\n])\s*")
_SHORTEST = 8
"""Characters of a command that a text has to hold before that means anything."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a conversation's branch holds, by whose words they are."""

    path: Sequence[Turn]
    system: str
    folder: str
    scratch: str
    outside: Callable[[str], bool]
    """Whether a tool of that name brings text of others."""

    def strange(self, call: Wanted) -> tuple[Target, ...]:
        """The targets that the person did not name and that may come from text of others."""
        if call.risk == "none" or not call.targets or not any(True for _ in self._read()):
            return ()
        return tuple(target for target in call.targets if self._strange(target, call))

    def _strange(self, target: Target, call: Wanted) -> bool:
        if target.kind == "command":
            return not self._said(target.value) and self._holds_command(target.value)
        if target.kind == "path":
            return self._strange_path(target.value, call)
        return not self._named(target.value)

    def _strange_path(self, path: str, call: Wanted) -> bool:
        if path in _HARMLESS or _within(path, self.scratch):
            return False
        if not _within(path, self.folder):
            return not any(self._said(one) for one in _ways(path))
        inner = os.path.relpath(path, self.folder)
        hidden = any(part.startswith(".") for part in inner.split(os.sep) if part != ".")
        if call.risk == "read" or not (hidden or not os.path.lexists(path)):
            return False
        name = inner if len(inner) > 3 else path
        return not self._said(name) and any(name in text for text in self._read())

    def _holds_command(self, command: str) -> bool:
        line = " ".join(command.split())
        parts = [p for p in (line, *_PARTS.split(line)) if len(p) >= _SHORTEST and " " in p]
        return any(_says(text, part) for text in self._read() for part in parts)

    def _named(self, value: str) -> bool:
        """A host or an address as a whole word, in one of its forms."""
        forms = {value, value.removeprefix("www."), _shown(value)}
        any_form = "|".join(re.escape(form) for form in forms if form)
        whole = re.compile(rf"(?<![\w.-])(?:www\.)?(?:{any_form})(?![\w-]|\.\w)", re.I)
        return any(whole.search(text) for text in self._persons())

    def _said(self, value: str) -> bool:
        return any(value in text for text in self._persons())

    def _persons(self) -> Iterator[str]:
        """What the person wrote, chose, or allowed with their own eyes."""
        yield self.system
        for turn in self.path:
            yield turn.text
            for step in turn.steps:
                yield from (note.text for note in step.notes if isinstance(note, MessageTaken))
                yield from (tool.arguments for tool in step.tools if _allowed(tool))

    def _read(self) -> Iterator[str]:
        for turn in self.path:
            for step in turn.steps:
                for tool in step.tools:
                    if tool.status is not None and tool.result and self.outside(tool.name):
                        yield tool.result


def _says(text: str, part: str) -> bool:
    """Line breaks and spaces are the page's own; words are what was copied."""
    # The longest word first: most texts need not be taken apart.
    return max(part.split(), key=len) in text and part in " ".join(text.split())


def _allowed(tool: ToolRun) -> bool:
    return tool.decided_by == "person" and tool.decision not in (None, "deny")


def _within(path: str, folder: str) -> bool:
    return bool(folder) and (path == folder or path.startswith(folder.rstrip("/") + "/"))


def _ways(path: str) -> tuple[str, ...]:
    """How a person writes a path."""
    home = os.path.expanduser("~")
    return (path, "~" + path[len(home) :]) if _within(path, home) and path != home else (path,)


def _shown(host: str) -> str:
    if "xn--" not in host:
        return host
    try:
        return host.encode().decode("idna")
    except UnicodeError:
        return host
