"""What a call is aimed at, read from its arguments where the tool does not say it.

Hosts, paths and mail addresses are looked for in every text among the arguments; in programs and
command lines also where they stand without a scheme. Too much found means a question too many.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from app.tools.base import Aimed, Target, Tool, ToolContext

MOST = 100
_LONGEST = 100_000
"""Characters of an argument that are looked at."""

_URL = re.compile(r"[a-z][a-z0-9+.-]{1,20}:/{2}[^\s\"'<>\\`)\]}]+", re.I)
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.)+[a-z]{2,24}(?![\w-])", re.I)
_NAME = r"(?:[a-z0-9](?:[\w-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,24}|xn--[a-z0-9-]+)"
_NUMBERS = r"(?:\d{1,3}\.){3}\d{1,3}"
_HOST = re.compile(rf"(?:{_NAME}|{_NUMBERS}|\[[0-9a-f:.]+\]|localhost)\.?", re.I)
_BARE = re.compile(rf"(?<![\w@/.-])({_NAME}|{_NUMBERS})(?=[:/\s\"'`)]|$)", re.I)
_PATH = re.compile(r"(?<![\w.:/~-])(?:~[\w-]*)?(?:/[\w.@%+~-]+)+/?|(?<![\w/.])(?:\.\./)+[\w./-]*")
_FILES = frozenset(
    "bz2 c cc cfg conf cpp css csv db docx go gz h html ini ipynb java jpg jpeg js json jsonl lock "  # noqa: SIM905
    "log md mp3 mp4 npy npz parquet pdf png pt pth py pyi rb rs rst sh sql sqlite svg tar tex toml "
    "ts tsv tsx txt wav xls xlsx xml yaml yml zip so array path join append mean sum format".split()
)
"""Endings that are names of files, or of attributes in programs, far more often than of hosts."""
_PLACES = re.compile(
    r"(?:.*_)?(?:paths?|files?|filename|folder|dir|directory|cwd|src|dst|destination)"
)
_HOSTS = re.compile(r"(?:.*_)?(?:host|hostname|domain|server|url|uri|link|address|endpoint|site)")
_COMMANDS = re.compile(r"command|cmd|command_?line|script")


def targets_of(tool: Tool, arguments: dict[str, Any], context: ToolContext) -> tuple[Target, ...]:
    """Of a call, each once."""
    if isinstance(tool, Aimed):
        return tool.targets(arguments, context)
    if tool.risk == "none":
        return ()
    if tool.risk in ("read", "write"):
        # What is written is no target, whatever it speaks of.
        return tuple(_places(arguments, str(context.folder or "")))
    return read_targets(arguments, str(context.folder or ""), program=tool.risk == "execute")


def read_targets(
    arguments: dict[str, Any], folder: str = "", *, program: bool = False
) -> tuple[Target, ...]:
    """Read from arguments. ``program``: its texts are code or command lines."""
    found: dict[Target, None] = {}
    for name, text in _texts(arguments):
        key = name.lower()
        if _COMMANDS.fullmatch(key):
            found[Target("command", text)] = None
        if _PLACES.fullmatch(key) and "://" not in text:
            found[Target("path", absolute(text, folder))] = None
            continue
        if _HOSTS.fullmatch(key) and _HOST.fullmatch(text.strip()):
            found[Target("host", host_of(text))] = None
            continue
        code = program or bool(_COMMANDS.fullmatch(key))
        for target in in_text(text, folder, bare=code):
            found[target] = None
        if len(found) >= MOST:
            break
    return tuple(found)[:MOST]


def in_text(text: str, folder: str = "", *, bare: bool = False) -> Iterator[Target]:
    """Hosts of URLs, mail addresses and paths; ``bare``: also hosts that stand alone."""
    text = text[:_LONGEST]
    for match in _URL.finditer(text):
        host = host_of(match[0])
        if host:
            yield Target("host", host)
        elif match[0].lower().startswith("file:"):
            yield Target("path", absolute(match[0][7:], folder))
    for match in _MAIL.finditer(text):
        yield Target("address", match[0].lower())
    rest = _URL.sub(" ", text)
    for match in _PATH.finditer(rest):
        if _is_place(match[0]):
            yield Target("path", absolute(match[0], folder))
    if bare:
        for match in _BARE.finditer(_MAIL.sub(lambda m: m[0].replace("@", " "), rest)):
            if match[1].rpartition(".")[2].lower() not in _FILES:
                yield Target("host", host_of(match[1]))


def host_of(text: str) -> str:
    """The host of a URL, or of what stands where one would: lower case, no final dot, IDNA."""
    text = text.strip()
    try:
        host = urlsplit(text if "://" in text else f"//{text}").hostname or ""
    except ValueError:
        return ""
    host = host.rstrip(".").lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return host
    return host


def absolute(path: str, folder: str) -> str:
    """Where a path leads, links followed."""
    place = os.path.expanduser(path.strip().replace("\0", ""))
    try:
        return os.path.realpath(os.path.join(folder or "/", place))
    except (OSError, ValueError):
        return os.path.normpath(os.path.join(folder or "/", place))


def _is_place(path: str) -> bool:
    """Not everything with a slash is a path: the first folder has to be there."""
    if path.startswith(("~", "..")):
        return True
    first = path.split("/", 2)[1]
    return os.path.lexists(f"/{first}")


def _texts(value: object, name: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict) and depth < 8:
        for key, one in value.items():
            yield from _texts(one, str(key), depth + 1)
    elif isinstance(value, list) and depth < 8:
        for one in value:
            yield from _texts(one, name, depth + 1)


def _places(arguments: dict[str, Any], folder: str) -> Iterator[Target]:
    for name, text in _texts(arguments):
        if _PLACES.fullmatch(name.lower()):
            yield Target("path", absolute(text, folder))
