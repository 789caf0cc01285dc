"""Control groups, where they may be made: hard limits for all processes of a sandbox together.

Root in a machine or container of its own may; other users' limits are those of their user
namespace, and what the app watches. A group's name says whose it is (the namespace that counts
processes, the app's number there, the tick in which it began), so that what a killed app left
behind is told from what others use.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from app.tools.sandbox.config import Limits

_ROOT = Path("/sys/fs/cgroup")
_SPARE = 4
"""Processes of ours around the command: bubblewrap's two, the launcher."""
_PATIENCE = 100
_NAME = re.compile(r"selenograph-(\d+)-(\d+)-(\d+)-[0-9a-f]{12}")
_JOIN = """n=$1; shift
while [ $n -gt 0 ]; do echo $$ >"$1/cgroup.procs"; shift; n=$((n-1)); done
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """The groups that a sandbox's first process joins before it is anything else."""

    folders: tuple[Path, ...]

    @classmethod
    def make(cls, limits: Limits) -> ControlGroup:
        """Without folders where none can be made."""
        made: list[Path] = []
        if os.geteuid() == 0:
            most = str(limits.processes + _SPARE)
            if (_ROOT / "cgroup.controllers").exists():
                values = {"pids.max": most, "memory.max": str(limits.memory)}
                made += _make(_ROOT, values)
            else:
                made += _make(_ROOT / "pids", {"pids.max": most})
                made += _make(_ROOT / "memory", {"memory.limit_in_bytes": str(limits.memory)})
        return cls(tuple(made))

    def wrap(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """The command line that joins first."""
        if not self.folders:
            return command
        count = str(len(self.folders))
        return ("/bin/sh", "-c", _JOIN, "sh", count, *map(str, self.folders), *command)

    async def remove(self) -> None:
        """Once all its processes are gone, which can take the kernel a moment."""
        for folder in self.folders:
            for _ in range(_PATIENCE):
                with contextlib.suppress(OSError):
                    folder.rmdir()
                    break
                await asyncio.sleep(0.01)


def remove_stale(root: Path = _ROOT) -> int:
    """Remove the groups of apps that are gone and could not do so themselves; how many. Blocking.

    A group in which something still runs cannot be removed and waits for the next time.
    """
    space, count = _namespace(), 0
    for parent in (root, root / "pids", root / "memory"):
        with contextlib.suppress(OSError):
            for name in os.listdir(parent):
                owner = _NAME.fullmatch(name)
                if owner is None or int(owner[1]) != space or began(int(owner[2])) == int(owner[3]):
                    continue
                with contextlib.suppress(OSError):
                    (parent / name).rmdir()
                    count += 1
    return count


def began(pid: int) -> int:
    """The tick since the machine's start in which a process began; 0: there is no such process."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        about = Path(f"/proc/{pid}/stat").read_text()
        return int(about.rpartition(")")[2].split()[19])
    return 0


def _namespace() -> int:
    """In which processes are counted: numbers of another, as a container's, say nothing here."""
    with contextlib.suppress(OSError):
        return os.stat("/proc/self/ns/pid").st_ino
    return 0


def _make(parent: Path, values: dict[str, str]) -> list[Path]:
    owner = f"{_namespace()}-{os.getpid()}-{began(os.getpid())}"
    folder = parent / f"selenograph-{owner}-{secrets.token_hex(6)}"
    try:
        folder.mkdir()
        for name, value in values.items():
            (folder / name).write_text(value)
    except OSError:
        with contextlib.suppress(OSError):
            folder.rmdir()
        return []
    return [folder]
