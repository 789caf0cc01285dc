"""The process that parses: it ends with its standard input.

A request is a line of JSON (:class:`Ask`) and ``size`` bytes; a reply is a line of JSON
(:class:`Told`). Memory and time are limited here, since a small file can stand for a large one.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal

import msgspec

from app.errors import ToolError
from app.tools.documents.decoding import decode
from app.tools.documents.document import Document, Kind

MEMORY = 1 << 30


class Ask(msgspec.Struct, frozen=True):
    """``seconds``: of processor time, after which the process ends itself by SIGPROF."""

    size: int
    kind: Kind
    seconds: float
    address: str = ""
    charset: str = ""


class Told(msgspec.Struct, frozen=True):
    """Either a document or why there is none."""

    document: Document | None = None
    problem: str = ""


def read(data: bytes, ask: Ask) -> Document:
    """Parse. Raises ToolError."""
    if ask.kind == "pdf":
        from app.tools.documents.pdf import read_pdf

        return read_pdf(data)
    if ask.kind == "html":
        from app.tools.documents.html import read_html

        return read_html(decode(data, ask.charset, html=True), ask.address)
    if b"\0" in data[:8192] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ToolError("unreadable", "this is not text")
    from app.tools.documents.markdown import read_markdown, read_text

    source = decode(data, ask.charset)
    return read_markdown(source, ask.address) if ask.kind == "markdown" else read_text(source)


def main() -> None:
    commands = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for what, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while line := commands.readline():
        ask = msgspec.json.decode(line, type=Ask)
        data = commands.read(ask.size)
        if len(data) < ask.size:
            return
        signal.setitimer(signal.ITIMER_PROF, ask.seconds)
        replies.write(msgspec.json.encode(_told(data, ask)) + b"\n")
        replies.flush()
        signal.setitimer(signal.ITIMER_PROF, 0)


def _told(data: bytes, ask: Ask) -> Told:
    try:
        return Told(read(data, ask))
    except ToolError as error:
        return Told(problem=error.message)
    except MemoryError:
        return Told(problem="it takes too much memory to read")
    except RecursionError:
        return Told(problem="it is nested too deeply")


if __name__ == "__main__":
    main()
