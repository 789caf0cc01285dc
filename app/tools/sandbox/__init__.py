"""Where tools' processes run: the strongest confinement that this machine allows.

``bubblewrap``: namespaces, a file system of its own, a seccomp filter, limits. ``landlock``: the
same filter and limits, with Landlock for files, signals and TCP; needs Linux 6.12. ``none``: as
much of this as there is, and a person allows each call by itself.
"""

from __future__ import annotations

import asyncio
import base64
import ctypes
import json
import logging
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.tools.base import Level
from app.tools.sandbox import bubblewrap, seccomp
from app.tools.sandbox.config import Limits, Place, environment, system_folders

__all__ = ("Limits", "Place", "available", "command_line", "environment", "probe")

_log = logging.getLogger(__name__)

_LAUNCH = Path(__file__).with_name("launch.py")
_PROBE_SECONDS = 10
_SCOPED = 6
"""Landlock's version that keeps signals inside."""
_NICE = 5
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_PROC = ("cpuinfo", "meminfo", "stat", "loadavg", "version", "filesystems", "uptime")

_levels: dict[Level | None, Level] = {}


async def probe(allowed: Level | None = None) -> Level:
    """The level of this machine, tried out once. ``allowed``: the strongest that may be used."""
    if allowed not in _levels:
        order: tuple[Level, ...] = ("bubblewrap", "landlock")
        tried = order[order.index(allowed) :] if allowed in order else order
        _levels[allowed] = "none"
        for level in () if allowed == "none" else tried:
            if await _works(level):
                _levels[allowed] = level
                break
    return _levels[allowed]


async def available() -> bool:
    """Whether bubblewrap can make its namespaces here. Some kernels and containers forbid it."""
    return await probe() == "bubblewrap"


def command_line(
    command: Sequence[str], place: Place, limits: Limits, level: Level
) -> tuple[str, ...]:
    """What to start in order to run ``command`` at a level."""
    config: dict[str, Any] = {
        "parent": os.getpid(),
        "nice": _NICE,
        "supervise": level != "bubblewrap",
        "limits": {
            "DATA": limits.memory,
            "NPROC": limits.processes,
            "FSIZE": limits.file_size,
            "CPU": limits.cpu_seconds,
            "NOFILE": limits.open_files,
            "CORE": 0,
        },
        "landlock": None,
        "seccomp": [],
        "attributes": [str(path) for path in place.writable],
    }
    own_files = level == "bubblewrap"
    internet = place.network or own_files
    ways: tuple[seccomp.Attributes, ...] = ("free",) if own_files else ("asked", "never")
    filters = [seccomp.program(internet, way) for way in ways]
    config["seccomp"] = [base64.b64encode(one).decode() for one in filters if one is not None]
    if level != "bubblewrap" and landlock_version():
        config["landlock"] = {
            "read": [
                *system_folders(place),
                *(f"/proc/{name}" for name in _PROC),
                *map(str, place.readable),
            ],
            "write": [str(path) for path in place.writable],
            "device": _DEVICES,
            "network": place.network,
        }
    launched = (sys.executable, "-I", "-S", str(_LAUNCH), json.dumps(config), *command)
    return bubblewrap.wrap(launched, place, limits) if level == "bubblewrap" else launched


def landlock_version() -> int:
    """0: the kernel has none, or it is off."""
    version: int = ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1)
    return max(version, 0)


async def _works(level: Level) -> bool:
    """Whether a harmless command comes to its end there."""
    if seccomp.program(internet=True) is None:
        return False
    if level == "bubblewrap" and shutil.which("bwrap") is None:
        return False
    if level == "landlock" and landlock_version() < _SCOPED:
        return False
    process = await asyncio.create_subprocess_exec(
        *command_line(("true",), Place(Path("/")), Limits(), level),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd="/",
    )
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return False
    if process.returncode:
        _log.warning("no sandbox by %s: %s", level, errors.decode(errors="replace").strip())
    return process.returncode == 0
