"""The shell tool with real processes, at every level that this machine has."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from app.errors import ToolError
from app.tools.base import Level, ToolContext
from app.tools.excerpt import HEAD, TAIL
from app.tools.sandbox import command_line, probe
from app.tools.sandbox.config import Limits, Place
from app.tools.sandbox.workplace import Workplace
from app.tools.shell import Shell

LIMITS = Limits(printed=4 << 20)


@pytest.fixture(params=["bubblewrap", "landlock"])
async def shell(request: pytest.FixtureRequest) -> Shell:
    level: Level = request.param
    if await probe(level) != level:
        pytest.skip(f"no {level} here")
    return Shell(Workplace(strongest=level, limits=LIMITS))


async def run(tool: Shell, context: ToolContext, command: str, **more: int) -> str:
    return await tool.run({"command": command, **more}, context, lambda text: None)


async def fault(tool: Shell, context: ToolContext, command: str, **more: int) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await run(tool, context, command, **more)
    return caught.value


def descendants() -> set[int]:
    return {p.pid for p in psutil.Process().children(recursive=True)}


async def test_what_is_printed_and_how_it_ended(shell: Shell, context: ToolContext) -> None:
    assert context.folder is not None
    assert await run(shell, context, "echo one; echo two >&2") == "one\ntwo"
    assert await run(shell, context, "true") == "(no output)"
    assert await run(shell, context, "echo no; exit 3") == "no\n(exit code 3)"
    assert await run(shell, context, "kill -9 $$") == "(ended by SIGKILL)"
    assert await run(shell, context, "echo text > new.txt; pwd") == str(context.folder)
    assert (context.folder / "new.txt").read_text() == "text\n"
    assert await run(shell, context, "echo $TOKEN; cat new.txt | tr t T") == "\nTexT"
    assert await run(shell, context, "read x; echo $?") == "1"
    assert "NUL" in (await fault(shell, context, "echo a\0b")).message


async def test_output_comes_while_it_runs(shell: Shell, context: ToolContext) -> None:
    came: list[tuple[float, str]] = []
    await shell.run(
        {"command": "echo first; sleep 0.4; echo second"},
        context,
        lambda text: came.append((time.monotonic(), text)),
    )
    assert "".join(text for _, text in came) == "first\nsecond\n"
    assert came[-1][0] - came[0][0] > 0.2


async def test_too_much_output(shell: Shell, context: ToolContext) -> None:
    text = await run(shell, context, "head -c 1000000 /dev/zero | tr '\\0' x; echo end")
    assert len(text) < HEAD + TAIL + 100
    assert text.endswith("end")
    error = await fault(shell, context, "yes")
    assert error.code == "limit"
    assert error.message.startswith("the command came to more than 4 MiB printed and was stopped")
    assert len(error.message) < HEAD + TAIL + 200


async def test_time_and_stop_leave_nobody(shell: Shell, context: ToolContext) -> None:
    before = descendants()
    many = "(setsid sleep 1000 &) ; nohup sleep 1000 & trap '' TERM INT; echo on; sleep 1000"
    error = await fault(shell, context, many, seconds=1)
    assert error.code == "time"
    assert error.message.endswith("it had printed:\non")
    assert descendants() <= before
    task = asyncio.create_task(run(shell, context, many))
    await asyncio.sleep(0.5)
    assert len(descendants() - before) > 3
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 2.5
    assert descendants() <= before


async def test_modes_and_times_of_ones_own_files(shell: Shell, context: ToolContext) -> None:
    assert context.folder is not None
    work = """
set -e
printf '#!/bin/sh\\necho it runs\n' > x; chmod 750 x; ./x
touch -d 2001-02-03T04:05:06Z x; cp -p x y; chown $(id -u) y; ln -s x l; touch -h -d @5 l
mkdir d; chmod 1777 d; cd d; touch -d @7 ../z; chmod 600 ../z; tar cf t.tar -C .. x y
mkdir o; tar xpf t.tar -C o; stat -c '%n %a %Y' o/x o/y ../z; stat -c '%a' .
python3 -I -S - <<'CODE'
import os
os.chmod("t.tar", 0o640, dir_fd=os.open(".", os.O_RDONLY))
h = os.open("t.tar", os.O_RDWR)
os.fchmod(h, 0o604)
os.utime(h, ns=(11, 12))
os.utime("t.tar", ns=(os.stat(h).st_atime_ns, 13))
print(oct(os.stat(h).st_mode), os.stat(h).st_atime_ns, os.stat(h).st_mtime_ns)
for name in ("nothing", "", "t.tar/x"):
    try:
        os.chmod(name, 0o600)
    except OSError as error:
        print(error.strerror)
CODE
"""
    assert (await run(shell, context, work)).splitlines() == [
        "it runs",
        "o/x 750 981173106",
        "o/y 750 981173106",
        "../z 600 7",
        "1777",
        "0o100604 11 13",
        "No such file or directory",
        "No such file or directory",
        "Not a directory",
    ]


async def test_where_somebody_watches_calls_already_they_are_denied(context: ToolContext) -> None:
    """As in some containers: then the kernel asks nobody else."""
    if await probe("landlock") != "landlock":
        pytest.skip("no landlock here")
    assert context.folder is not None
    place = Place(context.folder, writable=(context.folder,))
    script = "echo text > x; chmod 600 x; touch -d @5 x; cat x"
    words = list(command_line(("/bin/sh", "-c", script), place, Limits(), "landlock"))
    config = json.loads(words[4])
    config["seccomp"] = config["seccomp"][-1:]
    words[4] = json.dumps(config)
    done = await asyncio.to_thread(
        subprocess.run, words, cwd=context.folder, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "text\n"
    assert done.stderr.count("Operation not permitted") == 2


async def test_an_environment_of_python_can_be_made(shell: Shell, context: ToolContext) -> None:
    made = "python3 -m venv --without-pip v && v/bin/python -c 'import sys; print(sys.prefix)'"
    assert await run(shell, context, made) == f"{context.folder}/v"


async def test_what_nobody_reads_does_not_hold_up_the_end(
    shell: Shell, context: ToolContext
) -> None:
    """A pipe that is full while the command is stopped."""
    took = []
    for _ in range(2):
        error = await fault(shell, context, "yes & yes; wait")
        assert "more than 4 MiB printed" in error.message
        confined = await Workplace(strongest=shell._workplace.strongest).start(
            ("/bin/sh", "-c", "yes"), context, edits=True
        )
        stdout = confined.process.stdout
        assert stdout is not None
        await stdout.read(1)
        began = time.monotonic()
        await confined.close()
        took.append(time.monotonic() - began)
    assert min(took) < 0.8


async def test_what_is_left_behind_goes(shell: Shell, context: ToolContext) -> None:
    before = descendants()
    began = time.monotonic()
    assert await run(shell, context, "sleep 1000 & setsid sleep 1000 & echo done") == "done"
    assert time.monotonic() - began < 5
    assert descendants() <= before


async def test_keys_in_the_folder_are_hidden(
    context: ToolContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder as wide as a home, with the app's own data in it."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id").write_text("private")
    (home / ".netrc").write_text("private")
    data = home / "data"
    (data / "scratch").mkdir(parents=True)
    (data / "settings.json").write_text("private")
    monkeypatch.setenv("HOME", str(home))
    wide = ToolContext("c", home, data / "scratch")
    for level in ("bubblewrap", "landlock"):
        if await probe(level) != level:
            continue
        tool = Shell(Workplace(ours=(data,), strongest=level))
        command = "cat .ssh/id .netrc data/settings.json; echo > data/scratch/x; echo > data/y"
        if level == "landlock":
            assert (await fault(tool, wide, command)).code == "secrets"
            continue
        assert "private" not in await run(tool, wide, command)
        assert (data / "scratch" / "x").exists()
        assert not (data / "y").exists()
