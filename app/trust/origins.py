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
from collections.abc import Callable, Sequence

from app.state import Turn
from app.tools.base import Target
from app.trust.call import Wanted
from app.trust.sieve import spaced
from app.trust.words import Words

_HARMLESS = ("/dev/null", "/dev/stdin", "/dev/stdout", "/dev/stderr")
_PARTS = re.compile(r"\s*(?:\|\||&&|[;|\n])\s*")
_SHORTEST = 8
"""Characters of a command that a text has to hold before that means anything."""


class Origins:
    """Of one branch of a conversation, as it grows. On the core's loop."""

    def __init__(self, outside: Callable[[str], bool]) -> None:
        """``outside``: whether a tool of that name brings text of others."""
        self._words = Words(outside)

    def strange(
        self, call: Wanted, path: Sequence[Turn], system: str, scratch: str
    ) -> tuple[Target, ...]:
        """The targets that the person did not name and that may come from text of others."""
        self._words.take(path, system)
        if call.risk == "none" or not call.targets or not self._words.read:
            return ()
        return tuple(target for target in call.targets if self._strange(target, call, scratch))

    def _strange(self, target: Target, call: Wanted, scratch: str) -> bool:
        if target.kind == "command":
            return not self._words.said(target.value) and self._holds_command(target.value)
        if target.kind == "path":
            return self._strange_path(target.value, call, scratch)
        forms = (target.value, target.value.removeprefix("www."), _shown(target.value))
        return not self._words.named(forms)

    def _strange_path(self, path: str, call: Wanted, scratch: str) -> bool:
        if path in _HARMLESS or _within(path, scratch):
            return False
        if not _within(path, call.folder):
            return not any(map(self._words.said, _ways(path)))
        inner = os.path.relpath(path, call.folder)
        hidden = any(part.startswith(".") for part in inner.split(os.sep) if part != ".")
        if call.risk == "read" or not (hidden or not os.path.lexists(path)):
            return False
        name = inner if len(inner) > 3 else path
        return not self._words.said(name) and self._words.holds(name)

    def _holds_command(self, command: str) -> bool:
        line = spaced(command)
        parts = [p for p in (line, *_PARTS.split(line)) if len(p) >= _SHORTEST and " " in p]
        return any(map(self._words.holds_words, parts))


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
