"""The Python tool: a process per conversation that keeps its variables between calls."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import os
import secrets
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.errors import ToolError
from app.tools import sandbox
from app.tools.base import Outside, Risk, ToolContext
from engine.protocol import FunctionSpec, ToolSpec

SECONDS = 60.0
"""How long one call may run."""
GRACE = 2.0
"""How long a cell has to answer an interrupt before its process is killed."""
MOST_KERNELS = 8
HEAD, TAIL = 40_000, 10_000
"""Characters of printed text that a result keeps, from its beginning and from its end."""

_KERNEL = Path(__file__).with_name("python_kernel.py")


class Python:
    """``python(code)``: what is printed, then the last expression's value, as in a notebook."""

    read_only = False
    asks = True
    risk: Risk = "execute"
    outside: Outside = "raw"
    spec = ToolSpec(
        FunctionSpec(
            "python",
            "Run Python code and return what it prints and the value of its last expression. "
            "Variables stay between calls.",
            {
                "type": "object",
                "properties": {"code": {"type": "string"}},
                "required": ["code"],
                "additionalProperties": False,
            },
        )
    )

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._kernels: dict[str, _Kernel] = {}
        self._sandboxed: bool | None = None

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        kernel = await self._kernel(context)
        printed = _Excerpt(output)
        try:
            error = await kernel.run(arguments["code"], printed.write, self._seconds)
        finally:
            if not kernel.alive:
                await self.forget(context.conversation)
        if error is not None:
            raise ToolError("python", error)
        return printed.text().rstrip("\n") or "(no output)"

    async def forget(self, conversation: str) -> None:
        kernel = self._kernels.pop(conversation, None)
        if kernel is not None:
            await kernel.close()

    async def close(self) -> None:
        for conversation in tuple(self._kernels):
            await self.forget(conversation)

    async def _kernel(self, context: ToolContext) -> _Kernel:
        """The conversation's process, a new one if there is none or its folder was changed."""
        kernel = self._kernels.get(context.conversation)
        if kernel is not None and (kernel.folder != context.folder or not kernel.alive):
            await self.forget(context.conversation)
            kernel = None
        if kernel is None:
            if self._sandboxed is None:
                self._sandboxed = await sandbox.available()
            kernel = await _Kernel.start(context, self._sandboxed)
            while len(self._kernels) >= MOST_KERNELS:
                await self.forget(next(iter(self._kernels)))
        else:
            del self._kernels[context.conversation]
        self._kernels[context.conversation] = kernel  # the one used last is the last to go
        return kernel


class _Kernel:
    """One child process; see ``python_kernel`` for what is said over its pipes."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path | None) -> None:
        self._process = process
        self.folder = folder

    @classmethod
    async def start(cls, context: ToolContext, sandboxed: bool) -> _Kernel:
        scratch = context.scratch.resolve()
        folder = context.folder.resolve() if context.folder else None
        command: tuple[str, ...] = (sys.executable, "-I", str(_KERNEL))
        if sandboxed:
            command = sandbox.wrap(command, writable=scratch, readable=folder)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=folder or scratch,
                env=sandbox.environment(scratch),
                start_new_session=True,
            )
        except OSError as error:
            raise ToolError("python", f"Python cannot be started: {error.strerror}") from error
        return cls(process, context.folder)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def run(self, code: str, write: Callable[[str], None], seconds: float) -> str | None:
        """The error's last line, or None. Raises ToolError when the process is lost.

        When the caller is cancelled or the time is over, the cell is interrupted, which keeps its
        variables; if it does not heed that, the process is killed.
        """
        mark = secrets.token_hex(16)
        cell = asyncio.create_task(self._cell(code, mark, write))
        try:
            done, _ = await asyncio.wait({cell}, timeout=seconds)
            if done:
                return cell.result()
            heeded = await self._interrupt(cell)
        except asyncio.CancelledError:
            await self._interrupt(cell)
            raise
        kept = "" if heeded else "; its variables are gone"
        raise ToolError("time", f"the code ran longer than {seconds:g} s and was stopped{kept}")

    async def close(self) -> None:
        """Kill the process and all it began."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._transport_closed()

    async def _interrupt(self, cell: asyncio.Task[str | None]) -> bool:
        """Whether the cell ended in time; if not, the process is gone."""
        try:
            await self._send({"interrupt": True})
            done, _ = await asyncio.wait({cell}, timeout=GRACE)
            if done and self.alive:
                return True
        except asyncio.CancelledError:
            pass
        await self.close()
        await asyncio.wait({cell})
        if not cell.cancelled():
            cell.exception()
        return False

    async def _cell(self, code: str, mark: str, write: Callable[[str], None]) -> str | None:
        await self._send({"code": code, "mark": mark})
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        ending = f"\0{mark}\0".encode()
        stdout = self._process.stdout
        assert stdout is not None
        held = b""
        while chunk := await stdout.read(1 << 16):
            held += chunk
            found = held.find(ending)
            if found >= 0:
                write(decode(held[:found], final=True))
                line = held[found + len(ending) :]
                while not line.endswith(b"\n"):
                    rest = await stdout.read(1 << 16)
                    if not rest:
                        break
                    line += rest
                error = json.loads(line.split(b"\n")[0])["error"]
                return None if error is None else str(error)[:HEAD]
            keep = _before_ending(held, ending)
            write(decode(held[:keep]))
            held = held[keep:]
        write(decode(held, final=True))
        raise ToolError("python", f"Python ended {await self._how()}; its variables are gone")

    async def _send(self, command: dict[str, Any]) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(ConnectionError):  # it ended, as reading will tell
            stdin.write(json.dumps(command).encode() + b"\n")
            await stdin.drain()

    async def _how(self) -> str:
        code = await self._process.wait()
        number = -code if code < 0 else code - 128  # bubblewrap reports a signal as a shell does
        with contextlib.suppress(ValueError):
            if number > 0:
                return f"by signal {signal.Signals(number).name}"
        return f"with exit code {code}"

    def _transport_closed(self) -> None:
        stdin = self._process.stdin
        if stdin is not None:
            stdin.close()


def _before_ending(held: bytes, ending: bytes) -> int:
    """How many bytes are surely not the beginning of an ending whose rest has yet to come."""
    at = held.find(b"\0", max(0, len(held) - len(ending) + 1))
    while at >= 0 and not ending.startswith(held[at:]):
        at = held.find(b"\0", at + 1)
    return len(held) if at < 0 else at


class _Excerpt:
    """Printed text: the beginning and the end are kept, everything is passed on."""

    def __init__(self, output: Callable[[str], None]) -> None:
        self._output = output
        self._head = ""
        self._tail = ""
        self._left_out = 0

    def write(self, text: str) -> None:
        if not text:
            return
        self._output(text)
        room = HEAD - len(self._head)
        self._head += text[:room]
        self._tail += text[room:]
        if len(self._tail) > TAIL:
            self._left_out += len(self._tail) - TAIL
            self._tail = self._tail[-TAIL:]

    def text(self) -> str:
        if not self._left_out:
            return self._head + self._tail
        return f"{self._head}\n({self._left_out} characters left out)\n{self._tail}"
