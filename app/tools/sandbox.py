"""Bubblewrap around a child process: no network, no home, only a scratch folder to write to."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

_log = logging.getLogger(__name__)

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = ("/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives", "/etc/fonts", "/etc/mime.types")
_PROBE_SECONDS = 10


async def available() -> bool:
    """Whether bubblewrap can make its namespaces here. Some kernels and containers forbid it."""
    if shutil.which("bwrap") is None:
        return False
    process = await asyncio.create_subprocess_exec(
        *wrap(("true",), writable=None, readable=None),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return False
    if process.returncode:
        _log.warning("no sandbox: %s", errors.decode(errors="replace").strip())
    return process.returncode == 0


def wrap(command: Sequence[str], writable: Path | None, readable: Path | None) -> tuple[str, ...]:
    """The command line that runs ``command`` inside.

    It sees the system's programs, this Python and ``readable``, all read-only, and can write to
    ``writable`` and a private ``/tmp``. It dies with its parent.
    """
    seen = [*_SYSTEM, *_ETC, *_python()]
    return (
        "bwrap",
        "--unshare-all",
        "--die-with-parent",
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
        *(word for path in seen for word in ("--ro-bind-try", path, path)),
        *(("--ro-bind", str(readable), str(readable)) if readable else ()),
        *(("--bind", str(writable), str(writable)) if writable else ()),
        *("--chdir", str(readable or writable or "/")),
        "--",
        *command,
    )


def environment(home: Path) -> dict[str, str]:
    """What a child may know of ours: nothing but where programs are."""
    return {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), "/usr/bin", "/bin")),
        "HOME": str(home),
        "TMPDIR": "/tmp",  # a private one under bubblewrap
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": str(home),
    }


def _python() -> list[str]:
    """Folders of the running interpreter and its packages."""
    kernel = str(Path(__file__).parent)
    places = {sys.prefix, sys.base_prefix, sys.exec_prefix, kernel}
    places.add(str(Path(sys.executable).resolve().parent))
    return sorted(places)
