"""The command line of bubblewrap: namespaces of one's own, and a file system with little in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from app.tools.sandbox.config import Limits, Place, system_folders

_NOBODY = 1000
"""Who root is inside; another user stays who they are."""


def wrap(command: Sequence[str], place: Place, limits: Limits) -> tuple[str, ...]:
    """``command`` with the system's programs and this Python to read, the place's folders, and a
    ``/tmp`` and ``/dev/shm`` of its own in memory. It dies with its parent.
    """
    kept = [path for path in place.writable if any(map(path.is_relative_to, place.hidden))]
    user = str(os.getuid() or _NOBODY)
    group = str(os.getgid() or _NOBODY)
    return (
        "bwrap",
        "--unshare-all",
        *(("--share-net",) if place.network else ()),
        *("--unshare-user", "--uid", user, "--gid", group, "--cap-drop", "ALL"),
        *("--hostname", "sandbox", "--new-session", "--die-with-parent"),
        # Root's files in /proc/sys stay root's: no capability is needed to write to them.
        *("--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"),
        *("--size", str(limits.tmp), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),
        *("--size", str(limits.tmp), "--tmpfs", "/tmp"),
        *(word for path in system_folders(place) for word in ("--ro-bind-try", path, path)),
        *_bind("--ro-bind", place.readable),
        *_bind("--bind", [path for path in place.writable if path not in kept]),
        *(word for path in place.hidden for word in _hide(path)),
        *_bind("--bind", kept),
        *_seal(place.hidden),
        *("--remount-ro", "/"),
        *("--chdir", str(place.directory)),
        "--",
        *command,
    )


def _bind(how: str, paths: Iterable[Path]) -> list[str]:
    return [word for path in paths for word in (how, str(path), str(path))]


def _hide(path: Path) -> tuple[str, ...]:
    if path.is_dir():
        return ("--tmpfs", str(path))
    return ("--ro-bind", os.devnull, str(path))


def _seal(hidden: Iterable[Path]) -> list[str]:
    """Only after what lies inside has been bound."""
    return [word for path in hidden if path.is_dir() for word in ("--remount-ro", str(path))]
