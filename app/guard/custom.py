"""Guards that a person wrote in Python, from one trusted folder only.

``CONFIG/guards/FILE.py`` with functions ``check(text, info)`` that return None (nothing), a
message, or a list of (begin, end) within the text. The folder and the file have to belong to the
person and must not be writable by others; links are not followed. Workspaces never bring code.
"""

from __future__ import annotations

import os
import re
import stat
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.errors import ConfigError

Check = Callable[[str, dict[str, Any]], object]

_NAME = re.compile(r"([A-Za-z_]\w*\.py):([A-Za-z_]\w*)")
_LARGEST = 1_000_000


class TrustedFolder:
    """Loads functions; a file that changed is read again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._modules: dict[str, tuple[tuple[int, int], types.ModuleType]] = {}

    def function(self, name: str) -> Check:
        """``FILE.py:FUNCTION``. Raises ConfigError ``bad_code`` and ``not_trusted``."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise ConfigError("bad_code", f"{name[:100]!r} is not FILE.py:FUNCTION")
        module = self._module(match[1])
        found = getattr(module, match[2], None)
        if not callable(found):
            raise ConfigError("bad_code", f"{match[1]} has no function {match[2]}")
        check: Check = found
        return check

    def _module(self, file: str) -> types.ModuleType:
        path = self.folder / file
        for parent in (self.folder.parent, self.folder):
            _trusted(parent, stat.S_ISDIR)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError("bad_code", f"cannot read {path}: {error.strerror}") from None
        with os.fdopen(descriptor, "rb") as opened:
            status = os.fstat(opened.fileno())
            _check(path, status, stat.S_ISREG)
            key = (status.st_mtime_ns, status.st_size)
            known = self._modules.get(file)
            if known is not None and known[0] == key:
                return known[1]
            source = opened.read(_LARGEST)
        module = types.ModuleType(f"selenograph_trusted_{path.stem}")
        module.__file__ = str(path)
        try:
            exec(compile(source, str(path), "exec"), module.__dict__)
        except Exception as error:
            text = f"{path} does not run: {type(error).__name__}: {error}"
            raise ConfigError("bad_code", text) from error
        self._modules[file] = (key, module)
        return module


def _trusted(path: Path, kind: Callable[[int], bool]) -> None:
    try:
        status = path.lstat()
    except OSError as error:
        raise ConfigError("bad_code", f"cannot read {path}: {error.strerror}") from None
    _check(path, status, kind)


def _check(path: Path, status: os.stat_result, kind: Callable[[int], bool]) -> None:
    if not kind(status.st_mode):
        raise ConfigError("not_trusted", f"{path} is not what it should be", "no links here")
    if status.st_uid != os.getuid():
        raise ConfigError("not_trusted", f"{path} does not belong to you")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError("not_trusted", f"others may write to {path}", f"chmod go-w {path}")
