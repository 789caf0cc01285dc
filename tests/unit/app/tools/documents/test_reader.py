"""The process that parses: limits, cancelling, replacement."""

from __future__ import annotations

import asyncio
import os
import threading
import zlib
from collections.abc import Iterator

import psutil
import pytest

from app.errors import ToolError
from app.tools.documents.document import Kind
from app.tools.documents.reader import Reader, Ticket
from tests.unit.app.tools.documents.make_pdf import make_pdf


@pytest.fixture
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.close()


def slow_pdf() -> bytes:
    """Small, but endless work: a page of millions of operators."""
    stream = zlib.compress(zlib.compress(b"BT (x) Tj ET\n" * 4_000_000, 1), 9)
    data = make_pdf("x")
    begin = data.index(b"4 0 obj")
    end = data.index(b"endobj", begin)
    body = b"4 0 obj\n<< /Length %d /Filter [/FlateDecode /FlateDecode] >>\nstream\n%s\nendstream\n"
    return data[:begin] + body % (len(stream), stream) + data[end:]


def test_kinds(reader: Reader) -> None:
    assert reader.read(b"<h1>T</h1><p>x", "html").title == "T"
    assert reader.read(b"# T\n[a](b.md)", "markdown", "local:c/d.md").links == ("local:c/b.md",)
    assert reader.read("grün".encode("latin-1"), "text", charset="latin-1").text == "grün"
    assert "Hello" in reader.read(make_pdf("Hello"), "pdf").text


def test_trouble_is_told_and_the_next_is_read(reader: Reader) -> None:
    broken: tuple[tuple[bytes, Kind], ...] = ((b"junk", "pdf"), (b"a\0b", "text"))
    for data, kind in broken:
        with pytest.raises(ToolError) as caught:
            reader.read(data, kind)
        assert caught.value.code == "unreadable"
    assert reader.read(b"x", "text").text == "x"


def test_a_bomb_costs_its_limit_and_no_more() -> None:
    reader = Reader(seconds=1)
    try:
        with pytest.raises(ToolError) as caught:
            reader.read(slow_pdf(), "pdf")
        assert caught.value.message == "it takes too long to read"
        assert reader.read(b"x", "text").text == "x"
    finally:
        reader.close()


def test_it_ends_when_it_is_killed_from_outside(reader: Reader) -> None:
    reader.read(b"x", "text")
    for child in psutil.Process(os.getpid()).children():
        if "app.tools.documents.worker" in child.cmdline():
            child.kill()
            child.wait(5)
    assert reader.read(b"y", "text").text == "y"


def test_stopped_from_another_thread(reader: Reader) -> None:
    reader.read(b"x", "text")
    data, ticket = slow_pdf(), Ticket()
    timer = threading.Timer(0.2, reader.stop, [ticket])
    timer.start()
    with pytest.raises(ToolError) as caught:
        reader.read(data, "pdf", ticket=ticket)
    assert caught.value.code == "stopped"
    timer.join()
    with pytest.raises(ToolError):
        reader.read(b"x", "text", ticket=ticket)
    reader.stop(ticket)  # somebody else's turn by now: nothing happens to it
    assert reader.read(b"y", "text").text == "y"


async def test_cancelled() -> None:
    reader = Reader()
    data = slow_pdf()
    try:
        await reader.read_async(b"x", "text")
        task = asyncio.create_task(reader.read_async(data, "pdf"))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await reader.read_async(b"y", "text")).text == "y"
    finally:
        reader.close()
