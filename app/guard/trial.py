"""A rule on a text, in a process of its own: an expression that never ends must end nothing else.

The process gets one line of JSON (:class:`_Ask`) and answers with two (:class:`Tried`,
:class:`_Pace`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from app.errors import ConfigError
from app.guard.guards import Guards
from app.guard.rules import GuardRule, check_rule

SECONDS = 3.0
"""For the process to begin and to look at the text."""
LONGEST = 100_000
"""Characters that are tried."""
_PACE_SECONDS = 2.0
_SLOW = 0.5
_REPEATED = ("a", "1", " ", "a1", "-", ".", "/a", "x@")
"""What expressions that try too many ways stumble over."""
_TIMES = 5_000
_ROOT = Path(__file__).parents[2]


class Tried(msgspec.Struct, frozen=True):
    """``spans``: (begin, end) of what was found; ``message``: what it would say; empty: nothing
    found. ``problem``: why it does not work. ``slow``: long texts may take it very long.
    """

    message: str = ""
    spans: tuple[tuple[int, int], ...] = ()
    problem: str = ""
    slow: bool = False


class _Ask(msgspec.Struct, frozen=True):
    rule: GuardRule
    text: str
    folder: str


class _Pace(msgspec.Struct, frozen=True):
    slow: bool


async def try_rule(rule: GuardRule, text: str, folder: Path) -> Tried:
    """``folder``: of own functions. A rule that is off is tried as if it were on.

    Cancelling it ends the process.
    """
    rule = msgspec.structs.replace(rule, off=False)
    try:
        check_rule(rule)
    except ConfigError as error:
        return Tried(problem=error.message)
    ask = msgspec.json.encode(_Ask(rule, text[:LONGEST], str(folder))) + b"\n"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.guard.trial"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=_ROOT,
        limit=16 * LONGEST,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(ask)
        line = await _line(process.stdout, SECONDS)
        if line is None:
            return Tried(problem=f"it takes longer than {SECONDS:g} s for this text", slow=True)
        if not line.endswith(b"\n"):
            return Tried(problem="the process that tried it ended")
        found = msgspec.json.decode(line, type=Tried)
        line = await _line(process.stdout, _PACE_SECONDS)
        slow = line is None or (bool(line) and msgspec.json.decode(line, type=_Pace).slow)
        return msgspec.structs.replace(found, slow=slow)
    finally:
        if process.returncode is None:
            # Not by the process's own method, which would take its end away from the loop.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())


async def _line(reader: asyncio.StreamReader, seconds: float) -> bytes | None:
    try:
        return await asyncio.wait_for(reader.readline(), seconds)
    except TimeoutError:
        return None


def main() -> None:
    """In the process: try, say, and see how it does with long texts."""
    ask = msgspec.json.decode(sys.stdin.buffer.readline(), type=_Ask)
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what own functions print goes nowhere
    rule, place = ask.rule, ask.rule.on[0]
    guards = Guards(lambda: (rule,), Path(ask.folder))
    hits = guards.hits(place, ask.text)
    spans = tuple((begin, end) for hit in hits for begin, end, _ in hit.spans)
    found = Tried(hits[0].message, spans) if hits else Tried()
    replies.write(msgspec.json.encode(found) + b"\n")
    slow = rule.find == "regex" and any(_is_slow(guards, rule, text) for text in _REPEATED)
    replies.write(msgspec.json.encode(_Pace(slow)) + b"\n")
    os._exit(0)  # an own function that still runs is left alone


def _is_slow(guards: Guards, rule: GuardRule, text: str) -> bool:
    began = time.monotonic()
    guards.hits(rule.on[0], text * _TIMES + "!")
    return time.monotonic() - began > _SLOW


if __name__ == "__main__":
    main()
