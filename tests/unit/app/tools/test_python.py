"""The Python tool with real child processes: state, output, limits, and what it cannot reach."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from app.errors import ToolError
from app.tools import sandbox
from app.tools.base import ToolContext
from app.tools.excerpt import HEAD, TAIL
from app.tools.python import Python


@pytest.fixture
async def python() -> AsyncIterator[Python]:
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    tool = Python(seconds=30)
    yield tool
    await tool.close()
    for _ in range(100):
        left = {p.pid for p in psutil.Process().children(recursive=True)} - before
        if not left:
            break
        await asyncio.sleep(0.05)
    assert not left


async def run(tool: Python, context: ToolContext, code: str) -> str:
    return await tool.run({"code": code}, context, lambda text: None)


async def fault(tool: Python, context: ToolContext, code: str) -> str:
    with pytest.raises(ToolError) as caught:
        await run(tool, context, code)
    return caught.value.message


async def test_like_a_notebook(python: Python, context: ToolContext) -> None:
    assert await run(python, context, "x = 6") == "(no output)"
    assert await run(python, context, "print('a')\nx * 7") == "a\n42"
    assert await run(python, context, "None") == "(no output)"
    assert await run(python, context, "'é'") == "'é'"
    assert await run(python, context, "def f(n):\n    return n + 1\nf(x)") == "7"
    assert await run(python, context, "import sys; print('e', file=sys.stderr)") == "e"
    assert await run(python, context, "") == "(no output)"
    await python.forget(context.conversation)
    assert await fault(python, context, "x") == "NameError: name 'x' is not defined"


async def test_errors_are_one_line_and_keep_the_state(python: Python, context: ToolContext) -> None:
    await run(python, context, "x = 1")
    assert await fault(python, context, "1/0") == "ZeroDivisionError: division by zero"
    assert await fault(python, context, "raise ValueError") == "ValueError"
    assert await fault(python, context, "(") == "SyntaxError: '(' was never closed (<cell>, line 1)"
    assert await fault(python, context, "exit(3)") == "SystemExit: 3"
    assert await fault(python, context, "input()") == "EOFError: EOF when reading a line"
    assert await run(python, context, "x") == "1"


async def test_conversations_do_not_share(python: Python, context: ToolContext) -> None:
    other = replace(context, conversation="other")
    await run(python, context, "x = 1")
    assert "NameError" in await fault(python, other, "x")
    assert await run(python, context, "x") == "1"


async def test_output_comes_while_it_runs(python: Python, context: ToolContext) -> None:
    came: list[tuple[float, str]] = []
    code = "import time\nprint('first', flush=True)\ntime.sleep(0.5)\nprint('second')"
    await python.run({"code": code}, context, lambda text: came.append((time.monotonic(), text)))
    assert "".join(text for _, text in came) == "first\nsecond\n"
    assert came[-1][0] - came[0][0] > 0.3


async def test_a_hundred_megabytes(python: Python, context: ToolContext) -> None:
    text = await run(python, context, "for i in range(100): print('x' * 1_000_000)\nprint('end')")
    assert len(text) < HEAD + TAIL + 100
    assert text.endswith("end")
    assert "characters left out" in text
    assert await run(python, context, "1 + 1") == "2"


async def test_no_end(context: ToolContext) -> None:
    """Three ways, each in a conversation of its own, at the same time."""
    tool = Python(seconds=1)
    stubborn = (
        "import time\nwhile True:\n    try:\n        time.sleep(9)\n    except BaseException: pass"
    )

    async def endless(number: int, code: str, kept: str) -> None:
        mine = replace(context, conversation=str(number))
        await run(tool, mine, "x = 5")
        message = await fault(tool, mine, code)
        assert message == f"the code ran longer than 1 s and was stopped{kept}"
        if kept:
            assert await run(tool, mine, "1") == "1"
        else:
            assert await run(tool, mine, "x") == "5"

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(endless(1, "while True: pass", ""))
            tasks.create_task(endless(2, "import time; time.sleep(100)", ""))
            tasks.create_task(endless(3, stubborn, "; its variables are gone"))
    finally:
        await tool.close()


async def test_cancelled(python: Python, context: ToolContext) -> None:
    await run(python, context, "x = 5")
    task = asyncio.create_task(run(python, context, "import time; time.sleep(100)"))
    await asyncio.sleep(0.3)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 1.5
    assert await run(python, context, "x") == "5"


async def test_the_process_dies(python: Python, context: ToolContext) -> None:
    message = await fault(python, context, "import os; os._exit(3)")
    assert message == "Python ended with exit code 3; its variables are gone"
    message = await fault(python, context, "import os; os.kill(os.getpid(), 9)")
    assert message == "Python ended by signal SIGKILL; its variables are gone"
    assert await run(python, context, "2") == "2"


async def test_memory_is_bounded(python: Python, context: ToolContext) -> None:
    assert "MemoryError" in await fault(python, context, "x = bytearray(8 << 30)")


async def test_the_folder_is_where_it_works(python: Python, context: ToolContext) -> None:
    assert context.folder is not None
    (context.folder / "a.txt").write_text("hello")
    assert await run(python, context, "open('a.txt').read()") == "'hello'"
    other = replace(context, folder=None)
    assert await run(python, other, "import os; os.getcwd()") == repr(str(context.scratch))


async def test_our_secrets_are_not_its_own(
    python: Python, context: ToolContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELENOGRAPH_TOKEN", "hush")
    assert await run(python, context, "import os; 'SELENOGRAPH_TOKEN' in os.environ") == "False"


async def test_the_sandbox(python: Python, context: ToolContext) -> None:
    if not await sandbox.available():
        pytest.skip("bubblewrap cannot make namespaces here")
    assert context.folder is not None
    outside = context.folder.parent / "outside.txt"
    outside.write_text("private")
    assert "FileNotFoundError" in await fault(python, context, f"open({str(outside)!r})")
    assert "OSError" in await fault(python, context, "open('new.txt', 'w')")
    assert not (context.folder / "new.txt").exists()
    code = "import socket; socket.create_connection(('1.1.1.1', 53), 2)"
    assert "OSError" in await fault(python, context, code)
    pids = await run(python, context, "import os; sum(p.isdigit() for p in os.listdir('/proc'))")
    assert int(pids) < 5
    home = Path.home()
    assert (
        await run(python, context, f"import os; os.path.exists({str(home / '.ssh')!r})") == "False"
    )
    assert (
        await run(python, context, f"open({str(context.scratch / 's')!r}, 'w').write('ok')") == "2"
    )


async def test_children_go_with_it(python: Python, context: ToolContext) -> None:
    code = "import subprocess; p = subprocess.Popen(['sleep', '1000'])"
    await run(python, context, code)
    mine = [p for p in psutil.Process(os.getpid()).children(recursive=True) if p.name() == "sleep"]
    assert mine
    await python.close()
    _, alive = psutil.wait_procs(mine, timeout=5)
    assert not alive
