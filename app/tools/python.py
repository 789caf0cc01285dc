"""The Python tool: a process per conversation that keeps its variables between calls."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import secrets
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.errors import ToolError
from app.tools.artefacts import keep
from app.tools.base import Level, Outside, Risk, ToolContext
from app.tools.excerpt import HEAD, Excerpt
from app.tools.sandbox.process import Confined, size
from app.tools.sandbox.workplace import Workplace
from engine.protocol import FunctionSpec, ToolSpec

SECONDS = 60.0
"""How long one call may run."""
GRACE = 1.0
"""How long a cell has to answer an interrupt before its process is killed."""
MOST_KERNELS = 8
_LONGEST_OUTCOME = 32 << 20
"""Bytes of the line with a cell's error and artefacts."""

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
            "Variables stay between calls. The person is shown figures of matplotlib, and data "
            "frames and pictures that are the last value or passed to display().",
            {
                "type": "object",
                "properties": {"code": {"type": "string"}},
                "required": ["code"],
                "additionalProperties": False,
            },
        )
    )

    def __init__(
        self,
        seconds: float = SECONDS,
        workplace: Workplace = Workplace(),  # noqa: B008 - frozen
    ) -> None:
        self._seconds = seconds
        self._workplace = workplace
        self._kernels: dict[str, _Kernel] = {}

    async def level(self) -> Level:
        return await self._workplace.level()

    def question(self, arguments: dict[str, Any], context: ToolContext) -> str:
        """What a person is asked."""
        network = ", with the network" if self._workplace.settings().network else ""
        return f"Run this code{network}?"

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        kernel = await self._kernel(context)
        printed = Excerpt(output)
        try:
            outcome = await kernel.run(arguments["code"], printed.write, self._seconds)
        finally:
            if not kernel.alive:
                await self.forget(context.conversation)
        made = await keep(outcome.get("artefacts"), context)
        error = outcome.get("error")
        if error is not None:
            raise ToolError("python", str(error)[:HEAD])
        return "\n".join(filter(None, (printed.text().rstrip("\n"), made))) or "(no output)"

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
            process = await self._workplace.start(
                (sys.executable, "-I", str(_KERNEL)), context, edits=False, input=True
            )
            kernel = _Kernel(process, context.folder)
            while len(self._kernels) >= MOST_KERNELS:
                await self.forget(next(iter(self._kernels)))
        else:
            del self._kernels[context.conversation]
        self._kernels[context.conversation] = kernel  # the one used last is the last to go
        return kernel


class _Kernel:
    """One child process; see ``python_kernel`` for what is said over its pipes."""

    def __init__(self, process: Confined, folder: Path | None) -> None:
        self._process = process
        self.folder = folder

    @property
    def alive(self) -> bool:
        return self._process.alive

    async def run(self, code: str, write: Callable[[str], None], seconds: float) -> dict[str, Any]:
        """What the cell came to: its error's last line, or None, and artefacts. Raises ToolError
        when the process is lost.

        When the caller is cancelled or the time is over, the cell is interrupted, which keeps its
        variables; if it does not heed that, the process is killed.
        """
        mark = secrets.token_hex(16)
        with self._process.at_work():
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
        await self._process.close()

    async def _interrupt(self, cell: asyncio.Task[dict[str, Any]]) -> bool:
        """Whether the cell ended in time; if not, the process is gone."""
        try:
            await self._send({"interrupt": True})
            done, _ = await asyncio.wait({cell}, timeout=GRACE)
            if done and self.alive:
                # Variables stay, but nothing that the cell began goes on.
                outcome = {} if cell.exception() else cell.result()
                await self._process.end_others(outcome.get("pid", 0))
                return True
        except asyncio.CancelledError:
            pass
        await self.close()
        await asyncio.wait({cell})
        if not cell.cancelled():
            cell.exception()
        return False

    async def _cell(self, code: str, mark: str, write: Callable[[str], None]) -> dict[str, Any]:
        await self._send({"code": code, "mark": mark})
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        ending = f"\0{mark}\0".encode()
        stdout = self._process.process.stdout
        assert stdout is not None
        held, room = b"", self._process.limits.printed
        while chunk := await stdout.read(1 << 16):
            held += chunk
            room -= len(chunk)
            if room < 0:
                await self._process.stop(f"more than {size(self._process.limits.printed)} printed")
                break
            found = held.find(ending)
            if found >= 0:
                write(decode(held[:found], final=True))
                outcome = await self._outcome(stdout, held[found + len(ending) :])
                if outcome is None:
                    break
                return outcome
            keep = _before_ending(held, ending)
            write(decode(held[:keep]))
            held = held[keep:]
        if not self._process.overrun:
            write(decode(held, final=True))
        raise ToolError("python", f"{await self._how()}; its variables are gone")

    async def _outcome(self, stdout: asyncio.StreamReader, begun: bytes) -> dict[str, Any] | None:
        """The line after a cell's mark; None: there is none, or it is not one of our kernel's."""
        taken, total = [begun], len(begun)
        while b"\n" not in taken[-1]:
            rest = await stdout.read(1 << 16)
            total += len(rest)
            if not rest or total > _LONGEST_OUTCOME:
                await self._process.stop("an outcome that was too long")
                return None
            taken.append(rest)
        try:
            outcome = json.loads(b"".join(taken).split(b"\n")[0])
        except (ValueError, RecursionError):
            outcome = None
        if not isinstance(outcome, dict):
            await self._process.stop("an outcome that makes no sense")
            return None
        return outcome

    async def _send(self, command: dict[str, Any]) -> None:
        stdin = self._process.process.stdin
        assert stdin is not None
        with contextlib.suppress(ConnectionError):  # it ended, as reading will tell
            stdin.write(json.dumps(command).encode() + b"\n")
            await stdin.drain()

    async def _how(self) -> str:
        code = await self._process.process.wait()
        if self._process.overrun:
            return f"the code came to {self._process.overrun} and was stopped"
        number = -code if code < 0 else code - 128  # bubblewrap reports a signal as a shell does
        with contextlib.suppress(ValueError):
            if number > 0:
                return f"Python ended by signal {signal.Signals(number).name}"
        return f"Python ended with exit code {code}"


def _before_ending(held: bytes, ending: bytes) -> int:
    """How many bytes are surely not the beginning of an ending whose rest has yet to come."""
    at = held.find(b"\0", max(0, len(held) - len(ending) + 1))
    while at >= 0 and not ending.startswith(held[at:]):
        at = held.find(b"\0", at + 1)
    return len(held) if at < 0 else at
