"""Groups that an app leaves behind when it is killed, and who may remove them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.core import Core
from app.paths import Paths
from app.settings import Settings
from app.tools.sandbox.config import Limits
from app.tools.sandbox.control_group import ControlGroup, began, remove_stale

LEAVE = """
import sys, time
from app.tools.sandbox.config import Limits
from app.tools.sandbox.control_group import ControlGroup
import subprocess
group = ControlGroup.make(Limits())
inside = subprocess.Popen(group.wrap(("sleep", "1000")), stdin=subprocess.PIPE)
print(inside.pid, *group.folders, flush=True)
time.sleep(1000)
"""


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def stat_of(pid: int) -> int:
    """A process's first tick, read in another way."""
    words = Path(f"/proc/{pid}/stat").read_text().split()
    return int(words[21])


def test_only_those_of_dead_apps_go(tmp_path: Path) -> None:
    space = os.stat("/proc/self/ns/pid").st_ino
    gone = subprocess.Popen(["true"])
    gone.wait()
    me = os.getpid()
    stale = [
        f"selenograph-{space}-{gone.pid}-1234-0123456789ab",
        # My number once was that of another.
        f"selenograph-{space}-{me}-{stat_of(me) - 1}-0123456789ab",
    ]
    kept = [
        f"selenograph-{space}-{me}-{stat_of(me)}-0123456789ab",
        f"selenograph-{space}-{os.getppid()}-{stat_of(os.getppid())}-0123456789ab",
        f"selenograph-{space + 1}-{gone.pid}-1234-0123456789ab",
        f"selenograph-{space}-{gone.pid}-1234-0123456789ab.old",
        f"other-{space}-{gone.pid}-1234-0123456789ab",
        "selenograph-0123456789ab",
        "selenograph",
    ]
    for parent in (tmp_path, tmp_path / "pids", tmp_path / "memory"):
        for name in (*stale, *kept):
            (parent / name).mkdir(parents=True)
    used = tmp_path / f"selenograph-{space}-{gone.pid}-1235-0123456789ab"
    (used / "inside").mkdir(parents=True)
    assert remove_stale(tmp_path) == 6
    for parent in (tmp_path, tmp_path / "pids", tmp_path / "memory"):
        left = {path.name for path in parent.iterdir()}
        assert left - {"pids", "memory", used.name} == set(kept)
    assert used.exists()
    assert remove_stale(tmp_path / "nowhere") == 0


def test_a_process_is_known_by_its_first_tick() -> None:
    assert began(os.getpid()) == stat_of(os.getpid())
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert began(gone.pid) == 0


async def test_the_next_start_removes_what_a_killed_app_left(tmp_path: Path) -> None:
    mine = ControlGroup.make(Limits())
    if not mine.folders:
        pytest.skip("no groups can be made here")
    child = subprocess.Popen([sys.executable, "-c", LEAVE], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    inside, *names = child.stdout.readline().split()
    folders = [Path(name) for name in names]
    assert folders
    until(lambda: all(inside in (f / "cgroup.procs").read_text().split() for f in folders))
    try:
        remove_stale()  # it lives
        assert all(folder.is_dir() for folder in folders)
        child.kill()
        child.wait()
        child.stdout.close()
        remove_stale()  # something runs in it
        assert all(folder.is_dir() for folder in folders)
    finally:
        child.kill()
        os.kill(int(inside), signal.SIGKILL)
    until(lambda: not any((folder / "cgroup.procs").read_text() for folder in folders))
    core = Core(Paths.under(tmp_path), Settings())
    core.start()
    core.close()
    assert not any(folder.exists() for folder in folders)
    assert all(folder.is_dir() for folder in mine.folders)
    await mine.remove()
    assert not any(folder.exists() for folder in mine.folders)
