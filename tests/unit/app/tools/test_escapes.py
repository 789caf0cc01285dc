"""Nothing gets out: each attempt from the shell and from Python, at every level there is here.

The system calls' numbers are x86-64's. What would exhaust the machine is in ``test_exhaustion``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from app.errors import ToolError
from app.tools.base import Level, ToolContext
from app.tools.python import Python
from app.tools.sandbox import launch, probe
from app.tools.sandbox.config import Limits
from app.tools.sandbox.workplace import Workplace
from app.tools.shell import Shell
from tests.unit.app.tools.escapes import ATTEMPTS, GROUPS, Attempt, script, scripts

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86-64"),
    pytest.mark.asyncio(loop_scope="module"),
]

LIMITS = Limits(
    memory=256 << 20, processes=64, file_size=16 << 20, disk=64 << 20, tmp=16 << 20, cpu_seconds=20
)
KEY = "the private key"


@dataclass
class World:
    """A person's machine in small, and what is heard on it."""

    folder: Path
    scratch: Path
    outside: Path
    victim: subprocess.Popen[bytes]
    sockets: list[socket.socket] = field(default_factory=list)
    port: int = 0

    def names(self) -> dict[str, object]:
        """For the attempts."""
        return {
            "key": str(self.outside / ".ssh" / "id"),
            "outside": str(self.outside),
            "scratch": str(self.scratch),
            "app": os.getpid(),
            "victim": self.victim.pid,
            "port": self.port,
            "launch": launch.__file__,
            "socket_outside": str(self.outside / "s"),
            "socket_inside": str(self.folder / "s"),
            "abstract": f"selenograph-{self.port}",
        }

    def heard(self) -> int:
        """How often somebody spoke to one of the sockets."""
        count = 0
        for one in self.sockets:
            try:
                if one.type == socket.SOCK_DGRAM:
                    one.recv(10)
                else:
                    one.accept()[0].close()
                count += 1
            except BlockingIOError:
                pass
        return count

    def unharmed(self) -> bool:
        """Whether everything outside is as it was, and nobody was heard."""
        return (
            (self.outside / ".ssh" / "id").read_text() == KEY
            and sorted(p.name for p in self.outside.iterdir()) == [".ssh", "s"]
            and self.victim.poll() is None
            and self.heard() == 0
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    top = tmp_path_factory.mktemp("w")
    folder, scratch, outside = top / "folder", top / "scratch", top / "outside"
    for path in (folder, scratch, outside / ".ssh"):
        path.mkdir(parents=True)
    (outside / ".ssh" / "id").write_text(KEY)
    victim = subprocess.Popen(["sleep", "1000"], env={**os.environ, "TOKEN": "hush"})
    made = World(folder, scratch, outside, victim)
    tcp = socket.create_server(("127.0.0.1", 0))
    made.port = tcp.getsockname()[1]
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", made.port))
    made.sockets += [tcp, udp]
    for address in (str(outside / "s"), str(folder / "s"), f"\0selenograph-{made.port}"):
        one = socket.socket(socket.AF_UNIX)
        one.bind(address)
        one.listen()
        made.sockets.append(one)
    for one in made.sockets:
        one.setblocking(False)
    yield made
    victim.kill()
    victim.wait()
    for one in made.sockets:
        one.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["bubblewrap", "landlock"])
async def workplace(request: pytest.FixtureRequest) -> Workplace:
    level: Level = request.param
    if await probe(level) != level:
        pytest.skip(f"no {level} here")
    return Workplace(strongest=level, limits=LIMITS)


@pytest.fixture(scope="module")
def context(world: World) -> ToolContext:
    return ToolContext("c", world.folder, world.scratch)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def python(workplace: Workplace) -> AsyncIterator[Python]:
    tool = Python(30, workplace)
    yield tool
    await tool.close()


def fresh(world: World) -> None:
    for path in world.scratch.iterdir():
        if path.is_symlink() or not path.is_dir():
            path.unlink()


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda a: a.name)
async def test_from_python(
    attempt: Attempt, python: Python, world: World, context: ToolContext
) -> None:
    fresh(world)
    code = script(attempt, **world.names())
    result = await python.run({"code": code}, context, lambda text: None)
    assert "ESCAPED" not in result
    assert world.unharmed()


@pytest.mark.parametrize("group", GROUPS)
async def test_from_the_shell(
    group: str, workplace: Workplace, world: World, context: ToolContext
) -> None:
    """All of a kind in one command, since a command costs more than a cell."""
    fresh(world)
    code = scripts(GROUPS[group], **world.names())
    command = f"{sys.executable} -I -S - <<'CODE'\n{code}\nCODE\n"
    result = await Shell(workplace).run({"command": command}, context, lambda text: None)
    assert "ESCAPED" not in result
    assert result.endswith("all of them")
    assert world.unharmed()


async def test_there_are_enough_of_them() -> None:
    assert len({attempt.code for attempt in ATTEMPTS}) >= 90


@pytest.mark.parametrize("attempt", [a for a in ATTEMPTS if a.control], ids=lambda a: a.name)
async def test_they_succeed_without_a_sandbox(attempt: Attempt, world: World) -> None:
    """So that the attempts are known to be attempts."""
    if os.getuid() and attempt.name in ("raise priority", "real time"):
        pytest.skip("needs root")
    if "by handle" in attempt.name and os.stat(os.__file__).st_uid != os.getuid():
        pytest.skip("needs a Python of one's own")
    fresh(world)
    code = script(attempt, **world.names())
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, cwd=world.folder
    )
    assert "ESCAPED" in done.stdout or world.heard(), done.stdout
    world.heard()
    for path in world.outside.glob("w*"):
        path.unlink()


async def test_killing_the_parent(workplace: Workplace, context: ToolContext) -> None:
    """At most it ends itself."""
    tool = Python(30, workplace)
    code = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    try:
        with contextlib.suppress(ToolError):
            await tool.run({"code": code}, context, lambda text: None)
        assert await tool.run({"code": "6 * 7"}, context, lambda text: None) == "42"
    finally:
        await tool.close()


async def test_a_broken_protocol(workplace: Workplace, context: ToolContext) -> None:
    """Code that takes over the kernel's pipe can only speak for itself."""
    forge = """
import os, sys
frame = sys._getframe()
while "cell" not in frame.f_locals:
    frame = frame.f_back
mark = frame.f_locals["cell"]["mark"]
os.write(1, b"\\0" + mark.encode() + b"\\0" + TEXT)
while True:
    os.write(1, b"x" * 100_000)
"""

    async def attempt(text: str, why: str) -> None:
        tool = Python(30, workplace)
        try:
            with pytest.raises(ToolError, match=why):
                code = f"TEXT = {text}\n{forge}"
                await tool.run({"code": code}, context, lambda text: None)
        finally:
            await tool.close()

    async with asyncio.TaskGroup() as tasks:
        for text, why in (
            ("b'[1]\\n'", "an outcome that makes no sense"),
            ("b'{' + b'[' * 90_000 + b'\\n'", "an outcome that makes no sense"),
            ("b'{'", "an outcome that was too long"),
        ):
            tasks.create_task(attempt(text, why))


async def test_the_filter_is_in_force(workplace: Workplace, context: ToolContext) -> None:
    """The level is the one asked for, and the filter is in force."""
    level = await workplace.level()
    assert level == workplace.strongest
    code = "import ctypes; ctypes.CDLL(None).prctl(21, 0, 0, 0, 0)"
    tool = Python(30, workplace)
    try:
        assert await tool.run({"code": code}, context, lambda text: None) == "2"
    finally:
        await tool.close()
