"""Patterns over calls, in one line that people read and write.

``open_page``, ``fs__*``, ``@network``, ``open_page(host=*.example.org)``,
``shell(command=git status*)``, ``send(to="a, b", subject=*)``. ``host``, ``path``, ``address`` and
``command`` speak of what a call is aimed at, other names of arguments. ``*`` stands for any
characters, ``?`` for one; a value with a comma or a bracket stands in quotes (JSON).
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import lru_cache

from app.errors import ConfigError
from app.trust.call import Wanted

KINDS = ("host", "path", "address", "command")
LONGEST = 2_000

_TOOL = re.compile(r"@?[\w*?.-]{1,200}")
_PAIR = re.compile(r'\s*([A-Za-z_][\w-]*)\s*=\s*("(?:[^"\\]|\\.)*"|[^,()"]*)\s*(?:,|$)')
_SHELL = re.compile(r"[;&|<>$`\n(){}]")
"""What makes one command line more than one command."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """``tool``: a name with wildcards, or ``@`` and a class of risk."""

    tool: str
    where: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Raises ConfigError ``bad_pattern``."""
        return _parsed(text.strip())

    def __str__(self) -> str:
        if not self.where:
            return self.tool
        return f"{self.tool}({', '.join(f'{key}={_quoted(glob)}' for key, glob in self.where)})"

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of targets it speaks of."""
        return frozenset(key for key, _ in self.where if key in KINDS)

    def covers(self, call: Wanted) -> bool:
        """Whether all of the call is as it says: every target of the kinds it names."""
        return self._names(call) and all(
            self._holds(key, glob, call, every=True) for key, glob in self.where
        )

    def touches(self, call: Wanted) -> bool:
        """Whether something of the call is as it says: for rules that forbid."""
        return self._names(call) and all(
            self._holds(key, glob, call, every=False) for key, glob in self.where
        )

    def _names(self, call: Wanted) -> bool:
        if self.tool.startswith("@"):
            return self.tool[1:] == call.risk
        return _glob(self.tool).fullmatch(call.tool) is not None

    def _holds(self, key: str, glob: str, call: Wanted, *, every: bool) -> bool:
        if key not in KINDS:
            text = call.argument(key)
            return text is not None and _glob(glob).fullmatch(text) is not None
        found = [_fits(key, glob, value, call.folder, every) for value in call.aimed_at(key)]
        return bool(found) and (all(found) if every else any(found))


def _fits(kind: str, glob: str, value: str, folder: str, strict: bool) -> bool:
    if kind == "command":
        # A wildcard must not stand for a second command; forbidding is not so particular.
        if strict and "*" in glob and glob != "*" and _SHELL.search(value):
            return False
        return _glob(" ".join(glob.split())).fullmatch(" ".join(value.split())) is not None
    if kind == "path":
        place = os.path.expanduser(glob)
        if not place.startswith(("/", "*")):
            place = os.path.join(folder or "/", place)
        return _glob(place).fullmatch(value) is not None
    return _glob(glob.lower()).fullmatch(value.lower()) is not None


@lru_cache(maxsize=512)
def _glob(text: str) -> re.Pattern[str]:
    pieces = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in text)
    return re.compile("".join(pieces), re.DOTALL)


def _quoted(glob: str) -> str:
    plain = glob == glob.strip() and not re.search(r'[,()"\n]', glob)
    return glob if plain and glob else json.dumps(glob, ensure_ascii=False)


@lru_cache(maxsize=512)
def _parsed(text: str) -> Pattern:
    name, bracket, rest = text.partition("(")
    name = name.strip()
    if len(text) > LONGEST or not _TOOL.fullmatch(name):
        raise _bad(text)
    if not bracket:
        return Pattern(name)
    if not rest.endswith(")"):
        raise _bad(text)
    inner, at, where = rest[:-1], 0, []
    while at < len(inner):
        match = _PAIR.match(inner, at)
        if match is None:
            raise _bad(text)
        key, value = match[1], match[2].strip()
        if value.startswith('"'):
            try:
                value = json.loads(value)
            except ValueError:
                raise _bad(text) from None
        where.append((key, value))
        at = match.end()
    if not where:
        raise _bad(text)
    return Pattern(name, tuple(where))


def _bad(text: str) -> ConfigError:
    return ConfigError(
        "bad_pattern",
        f"{text[:200]!r} is no pattern for calls",
        "a tool, perhaps with what it may be aimed at: open_page(host=*.example.org)",
    )
