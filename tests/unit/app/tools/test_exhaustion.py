"""Nothing is used up: bombs under small limits, each of which is first shown to be in force."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import psutil
import pytest

from app.errors import ToolError
from app.tools.base import Level, ToolContext
from app.tools.python import Python
from app.tools.sandbox import probe
from app.tools.sandbox.config import Limits
from app.tools.sandbox.workplace import Workplace
from app.tools.shell import Shell

LIMITS = Limits(
    memory=128 << 20,
    processes=40,
    file_size=8 << 20,
    disk=24 << 20,
    tmp=8 << 20,
    cpu_seconds=1,
    open_files=64,
    printed=4 << 20,
)
PROBES = {
    "processes": (
        "for i in $(seq 60); do sleep 0.2 & done; wait; echo through",
        "fork",
    ),
    "memory": ("python3 -I -S -c 'bytearray(140 << 20)'; echo through", "MemoryError"),
    "file_size": ("head -c 9000000 /dev/zero > big; rm big", "File too large"),
    "open_files": (
        "python3 -I -S -c 'x = [open(\"/dev/null\") for _ in range(80)]'",
        "Too many open files",
    ),
}
"""Harmless, with the limit or without."""
_proven: set[tuple[Level | None, str]] = set()


@pytest.fixture(params=["bubblewrap", "landlock"])
async def level(request: pytest.FixtureRequest) -> Level:
    wanted: Level = request.param
    if await probe(wanted) != wanted:
        pytest.skip(f"no {wanted} here")
    return wanted


@pytest.fixture
async def place(level: Level, context: ToolContext) -> AsyncIterator[Workplace]:
    """A sandbox after which nobody is left."""
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    yield Workplace(strongest=level, limits=LIMITS)
    assert {p.pid for p in psutil.Process().children(recursive=True)} <= before


async def shell(place: Workplace, context: ToolContext, command: str, seconds: int = 20) -> str:
    """The result or the error."""
    try:
        return await Shell(place).run(
            {"command": command, "seconds": seconds}, context, lambda text: None
        )
    except ToolError as error:
        return error.message


async def python(place: Workplace, context: ToolContext, code: str) -> str:
    tool = Python(20, place)
    try:
        return await tool.run({"code": code}, context, lambda text: None)
    except ToolError as error:
        return error.message
    finally:
        await tool.close()


async def proven(place: Workplace, context: ToolContext, *limits: str) -> None:
    """Whether limits are in force here: nothing is let loose before."""
    for name in limits:
        if (place.strongest, name) in _proven:
            continue
        command, sign = PROBES[name]
        result = await shell(place, context, command)
        assert sign.lower() in result.lower(), f"{name} is not limited here: {result}"
        _proven.add((place.strongest, name))


async def test_fork_bomb(place: Workplace, context: ToolContext) -> None:
    await proven(place, context, "processes")
    began = time.monotonic()
    bomb = "b() { b | b & }; b; sleep 1; echo survived"
    code = """
import os, time
end = time.monotonic() + 1
while time.monotonic() < end:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
"""
    results = await asyncio.gather(shell(place, context, bomb, 5), python(place, context, code))
    assert all(results)
    assert time.monotonic() - began < 20


async def test_zombies_and_threads(place: Workplace, context: ToolContext) -> None:
    await proven(place, context, "processes")
    code = """
import os, threading, time
made = 0
try:
    while made < 500:
        if not os.fork():
            os._exit(0)
        made += 1
except OSError:
    pass
print("zombies", made < 60)
for _ in range(made):
    os.wait()
made = 0
try:
    while made < 500:
        threading.Thread(target=time.sleep, args=(1,), daemon=True).start()
        made += 1
except RuntimeError:
    pass
print("threads", made < 60)
"""
    assert await python(place, context, code) == "zombies True\nthreads True"


async def test_orphans_of_orphans(place: Workplace, context: ToolContext) -> None:
    """Daemons that left every group and ignore what can be ignored."""
    code = """
import os, signal, time
for _ in range(10):
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        time.sleep(1000)
        os._exit(0)
"""
    began = time.monotonic()
    assert await python(place, context, code) == "(no output)"
    assert time.monotonic() - began < 10


async def test_memory_of_one(place: Workplace, context: ToolContext) -> None:
    await proven(place, context, "memory")
    code = "x = []\nwhile True: x.append(bytearray(8 << 20))"
    assert "MemoryError" in await python(place, context, code)


async def test_memory_of_all(place: Workplace, context: ToolContext) -> None:
    """Each keeps to its own limit, all together do not; it is not much for this machine."""
    await proven(place, context, "memory")
    one = "python3 -I -S -c 'x = bytearray(90 << 20); import time; time.sleep(5)'"
    some = f"{one} & {one} & {one} & {one} & wait -n; kill $(jobs -p); wait; echo through"
    result = await shell(place, context, some)
    assert "128 MiB of memory" in result or "Killed" in result or "SIGKILL" in result, result


async def test_shared_memory(place: Workplace, context: ToolContext) -> None:
    await proven(place, context, "memory", "file_size")
    code = """
import mmap, os
x = []
for _ in range(40):
    x.append(mmap.mmap(-1, 8 << 20))
    x[-1].write(b"x" * (8 << 20))
import time; time.sleep(3)
"""
    result = await python(place, context, code)
    assert "128 MiB of memory" in result or "SIGKILL" in result, result


async def test_a_large_file(place: Workplace, context: ToolContext) -> None:
    await proven(place, context, "file_size")
    code = "open(SCRATCH + '/big', 'wb').write(b'x' * (9 << 20))"
    result = await python(place, context, f"SCRATCH = {str(context.scratch)!r}\n{code}")
    assert "File too large" in result
    (context.scratch / "big").unlink()


async def test_many_files(place: Workplace, context: ToolContext) -> None:
    """At most 80 MB, should the limit not work."""
    await proven(place, context, "file_size")
    one = "head -c 5000000 /dev/zero > f$i; sync f$i; sleep 0.1"
    fill = f"for i in $(seq 16); do {one}; done; echo all"
    result = await shell(place, context, fill)
    assert "24 MiB written to disk" in result
    assert context.folder is not None
    assert sum(p.stat().st_size for p in context.folder.glob("f*")) < 80_000_000


async def test_temporary_files(place: Workplace, context: ToolContext, level: Level) -> None:
    await proven(place, context, "file_size")
    fill = "for i in 1 2 3; do head -c 5000000 /dev/zero > $TMPDIR/f$i; done; echo through"
    result = await shell(place, context, fill)
    if level == "bubblewrap":
        assert "No space left" in result
        shared = fill.replace("$TMPDIR", "/dev/shm")
        assert "No space left" in await shell(place, context, shared)
    else:
        assert result == "through"  # on the disk, whose limit is tested above


async def test_descriptors(place: Workplace, context: ToolContext) -> None:
    await proven(place, context, "open_files")
    code = "import os\nx = []\nwhile True: x += os.pipe()"
    assert "Too many open files" in await python(place, context, code)


async def test_processor_time(place: Workplace, context: ToolContext) -> None:
    result = await shell(place, context, "while :; do :; done", 15)
    assert "SIGKILL" in result or "SIGXCPU" in result


async def test_ten_gigabytes_of_output(place: Workplace, context: ToolContext) -> None:
    before = psutil.Process().memory_info().rss
    began = time.monotonic()
    result = await shell(place, context, "head -c 10G /dev/zero")
    assert "more than 4 MiB printed" in result
    result = await python(place, context, "while True: print('x' * 100_000)")
    assert "more than 4 MiB printed" in result
    assert time.monotonic() - began < 5
    assert psutil.Process().memory_info().rss - before < 200 << 20


async def test_the_app_lives_meanwhile(place: Workplace, context: ToolContext) -> None:
    """The loop answers while a bomb goes off, and stopping it is quick."""
    await proven(place, context, "processes")
    bomb = asyncio.create_task(shell(place, context, "b() { b | b & }; b; sleep 100"))
    worst = 0.0
    for _ in range(50):
        began = time.monotonic()
        await asyncio.sleep(0.02)
        worst = max(worst, time.monotonic() - began)
    bomb.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await bomb
    assert time.monotonic() - began < 2.5
    assert worst < 1.0
