"""Guards that a person wrote in Python, from one trusted folder only.

``CONFIG/guards/FILE.py`` with functions ``check(text, info)`` that return None (nothing), a
message, or a list of (begin, end) within the text. The folder and the file have to belong to the
person and must not be writable by others; links are not followed. Workspaces never bring code.
"""

from __future__ import annotations

import ast
import os
import stat
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import ConfigError
from app.guard.rules import FUNCTION

Check = Callable[[str, dict[str, Any]], object]

_LARGEST = 1_000_000


@dataclass(frozen=True, slots=True)
class OwnFunction:
    """``FILE.py:FUNCTION``; or a file, where ``problem`` says why nothing of it can be used."""

    name: str
    problem: str = ""


class TrustedFolder:
    """Loads functions; a file that changed is read again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._modules: dict[str, tuple[tuple[int, int], types.ModuleType]] = {}

    def function(self, name: str) -> Check:
        """``FILE.py:FUNCTION``. Raises ConfigError ``bad_code`` and ``not_trusted``."""
        match = FUNCTION.fullmatch(name)
        if match is None:
            raise ConfigError("bad_code", f"{name[:100]!r} is not FILE.py:FUNCTION")
        module = self._module(match[1])
        found = getattr(module, match[2], None)
        if not callable(found):
            raise ConfigError("bad_code", f"{match[1]} has no function {match[2]}")
        check: Check = found
        return check

    def listed(self) -> tuple[OwnFunction, ...]:
        """What there is, by name. Nothing of it is run. Raises ConfigError where the folder may not
        be used; none where it is missing.
        """
        if not self.folder.exists():
            return ()
        for parent in (self.folder.parent, self.folder):
            _trusted(parent, stat.S_ISDIR)
        found: list[OwnFunction] = []
        for path in sorted(self.folder.glob("*.py")):
            try:
                _trusted(path, stat.S_ISREG)
                tree = ast.parse(path.read_bytes()[:_LARGEST], str(path))
            except ConfigError as error:
                found.append(OwnFunction(path.name, error.message))
            except (OSError, SyntaxError, ValueError, RecursionError) as error:
                found.append(OwnFunction(path.name, f"{type(error).__name__}: {error}"))
            else:
                defined = (one for one in tree.body if isinstance(one, ast.FunctionDef))
                names = (f"{path.name}:{one.name}" for one in defined if one.name[0] != "_")
                found += [OwnFunction(name) for name in names if FUNCTION.fullmatch(name)]
        return tuple(found)

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
