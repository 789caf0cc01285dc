"""A process in a sandbox, with all it starts: begun, watched, and ended to the last one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.tools.base import Level
from app.tools.sandbox import command_line
from app.tools.sandbox.config import Limits, Place
from app.tools.sandbox.control_group import ControlGroup

_EVERY, _RARELY = 0.1, 1.0
"""Seconds between two looks: while there is work, and otherwise."""
_PATIENCE = 1.0
"""Seconds in which the sandbox ends by itself when its first process is killed."""
_ROUNDS = 20
"""Looks for processes that were being begun while others were ended."""
_MOST_LOOKED = 100_000
"""Files that are looked at to find out who filled the disk."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Confined:
    """On the event loop. ``overrun`` says which limit it was ended for, if so."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        place: Place,
        limits: Limits,
        group: ControlGroup,
        level: Level,
    ) -> None:
        self.process = process
        self.overrun = ""
        self._busy = True
        self._level = level
        self._place = place
        self.limits = limits
        self._group = group
        self._began = time.time()
        self._free = _free(place)
        self._watch = asyncio.create_task(self._watched())

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        place: Place,
        limits: Limits,
        level: Level,
        environment: dict[str, str],
        *,
        input: bool = False,
    ) -> Confined:
        """``input``: whether its standard input is a pipe. Raises OSError."""
        group = ControlGroup.make(limits)
        words = group.wrap(command_line(command, place, limits, level))
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.PIPE if input else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=place.directory,
                env=environment,
                start_new_session=True,
            )
        except BaseException:
            await group.remove()
            raise
        return cls(process, place, limits, group, level)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Look often meanwhile, and count from here what is written."""
        self._began, self._free, self._busy = time.time(), _free(self._place), True
        try:
            yield
        finally:
            self._busy = False

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    async def stop(self, why: str) -> None:
        """End it for a limit that it overran."""
        self.overrun = self.overrun or why
        await self._end()

    async def end_others(self, kept: int) -> None:
        """End everything in it but the process that calls itself ``kept``, and what holds that."""
        for _ in range(_ROUNDS):
            if not await asyncio.to_thread(_end_others, self.process.pid, kept):
                return

    async def close(self) -> None:
        """End it and everything it began; returns when they are gone."""
        self._watch.cancel()
        await self._end()
        await asyncio.wait({self._watch})
        await self._drain()
        stdin = self.process.stdin
        if stdin is not None:
            stdin.close()
        await self._group.remove()

    async def _drain(self) -> None:
        """Read what nobody wanted, or the pipe stays open."""
        stdout = self.process.stdout
        assert stdout is not None
        with contextlib.suppress(TimeoutError, ValueError, RuntimeError):
            async with asyncio.timeout(_PATIENCE):
                while await stdout.read(1 << 16):
                    pass

    async def _end(self) -> None:
        """The kernel ends a process namespace with its first process, and bubblewrap waits for it;
        our supervisor ends what it adopted.
        """
        pid = self.process.pid
        if self.alive:
            if self._level == "bubblewrap":
                for child in _children(pid):
                    _kill(child, signal.SIGKILL)
            else:
                _kill(pid, signal.SIGTERM)
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._gone()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
        await self._gone()

    async def _gone(self) -> None:
        """Nobody hears of a process's end before its pipe's, and that comes after what is in it."""
        reading = asyncio.create_task(self._drain())
        try:
            await self.process.wait()
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def _watched(self) -> None:
        while self.alive:
            await asyncio.sleep(_EVERY if self._busy else _RARELY)
            overrun = await asyncio.to_thread(self._look)
            if overrun and self.alive:
                await self.stop(overrun)

    def _look(self) -> str:
        """The limit that is broken. Blocking."""
        pids = _tree(self.process.pid)
        limits = self.limits
        if len(pids) > limits.processes + 8:
            return f"more than {limits.processes} processes"
        if sum(map(_resident, pids)) > limits.memory and (
            sum(map(_proportional, pids)) > limits.memory
        ):
            return f"more than {size(limits.memory)} of memory"
        lost = max(
            (free - now for free, now in zip(self._free, _free(self._place), strict=True)),
            default=0,
        )
        if lost > limits.disk and (
            lost > 4 * limits.disk
            or _written(self._place.writable, self._began, limits.disk) > limits.disk
        ):
            return f"more than {size(limits.disk)} written to disk"
        return ""


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def _tree(pid: int) -> list[int]:
    found, level = [pid], [pid]
    while level:
        level = [child for parent in level for child in _children(parent)]
        found += level
    return found


def _end_others(root: int, kept: int) -> int:
    """Blocking; how many there were."""
    parents = {child: parent for parent in _tree(root) for child in _children(parent)}
    keep = {root}
    for pid in (one for one in (root, *parents) if _own_number(one) == kept):
        while pid != root:
            keep.add(pid)
            pid = parents.get(pid, root)
    others = [pid for pid in parents if pid not in keep] if len(keep) > 1 or root == kept else []
    for pid in others:
        _kill(pid, signal.SIGKILL)
    return len(others)


def _own_number(pid: int) -> int:
    """What a process is called in its own namespace."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return 0


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return 0


def _proportional(pid: int) -> int:
    """What is shared counts by shares, so that forks of a large process are not overcounted."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _resident(pid)


def _free(place: Place) -> list[int]:
    """Bytes left where it may write."""
    found = []
    for path in place.writable:
        with contextlib.suppress(OSError):
            about = os.statvfs(path)
            found.append(about.f_bfree * about.f_frsize)
            continue
        found.append(0)
    return found


def _written(folders: tuple[Path, ...], since: float, enough: int) -> int:
    """Bytes of files that changed since a time; stops when it is enough or too much to look at."""
    total = looked = 0
    waiting = [str(folder) for folder in folders]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                looked += 1
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                        continue
                    about = entry.stat(follow_symlinks=False)
                    if about.st_ctime >= since:
                        total += about.st_blocks * 512
                if total > enough or looked > _MOST_LOOKED:
                    return max(total, enough + 1)
    return total


def size(count: int) -> str:
    """For people."""
    return f"{count / (1 << 30):.3g} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.3g} MiB"
