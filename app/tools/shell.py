"""The shell tool: one command in the conversation's folder, in a sandbox of its own."""

from __future__ import annotations

import asyncio
import codecs
import shutil
import signal
from collections.abc import Callable
from typing import Any

from app.errors import ToolError
from app.tools.base import Level, Outside, Risk, Target, ToolContext
from app.tools.excerpt import Excerpt
from app.tools.sandbox.process import Confined, size
from app.tools.sandbox.workplace import Workplace
from engine.protocol import FunctionSpec, ToolSpec

LONGEST = 600
"""Seconds that a command may ask for."""
_CHUNK = 1 << 16


class Shell:
    """``shell(command)``: what it prints, and its exit code unless that is 0."""

    read_only = False
    asks = True
    risk: Risk = "execute"
    outside: Outside = "raw"
    spec = ToolSpec(
        FunctionSpec(
            "shell",
            "Run a shell command in the folder and return what it prints, errors included. Every "
            "call begins anew: changes of files stay, variables and background jobs do not.",
            {
                "type": "object",
                "properties": {
                    "command": {"type": "string", "minLength": 1},
                    "seconds": {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": LONGEST,
                        "description": "how long it may run",
                    },
                },
                "required": ["command"],
                "additionalProperties": False,
            },
        )
    )

    def __init__(self, workplace: Workplace = Workplace()) -> None:  # noqa: B008 - frozen
        self._workplace = workplace

    async def level(self) -> Level:
        return await self._workplace.level()

    def question(self, arguments: dict[str, Any], context: ToolContext) -> str:
        """What a person is asked."""
        where = "in the conversation's folder" if context.folder else "in a folder of its own"
        network = ", with the network" if self._workplace.settings().network else ""
        return f"Run this command {where}{network}?"

    def targets(self, arguments: dict[str, Any], context: ToolContext) -> tuple[Target, ...]:
        """The command itself."""
        return (Target("command", str(arguments.get("command", ""))),)

    async def run(
        self, arguments: dict[str, Any], context: ToolContext, output: Callable[[str], None]
    ) -> str:
        if "\0" in arguments["command"]:
            raise ToolError("arguments", "a command cannot hold the character NUL")
        seconds = arguments.get("seconds", self._workplace.settings().seconds)
        shell = shutil.which("bash") or "/bin/sh"
        process = await self._workplace.start(
            (shell, "-c", arguments["command"]), context, edits=True
        )
        printed = Excerpt(output)
        try:
            async with asyncio.timeout(seconds):
                await _read(process, printed)
                code = await process.process.wait()
        except TimeoutError:
            why = f"the command ran longer than {seconds} s and was stopped"
            raise ToolError("time", _with(why, printed)) from None
        finally:
            await process.close()
        if process.overrun:
            why = f"the command came to {process.overrun} and was stopped"
            raise ToolError("limit", _with(why, printed))
        text = printed.text().rstrip("\n")
        if code:
            return f"{text}\n({_how(code)})".lstrip("\n")
        return text or "(no output)"

    async def forget(self, conversation: str) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is kept."""


async def _read(process: Confined, printed: Excerpt) -> None:
    """All that is printed until the command ends, which is before its pipe does if it left others
    behind.
    """
    stdout = process.process.stdout
    assert stdout is not None
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    room = process.limits.printed
    while chunk := await stdout.read(_CHUNK):
        room -= len(chunk)
        if room < 0:
            await process.stop(f"more than {size(process.limits.printed)} printed")
            return
        printed.write(decode(chunk))
    printed.write(decode(b"", final=True))


def _how(code: int) -> str:
    number = -code if code < 0 else code - 128
    if number > 0:
        try:
            return f"ended by {signal.Signals(number).name}"
        except ValueError:
            pass
    return f"exit code {code}"


def _with(why: str, printed: Excerpt) -> str:
    text = printed.text().strip("\n")
    return f"{why}; it had printed:\n{text}" if text else why
