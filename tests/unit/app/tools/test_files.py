"""The file tools on a real folder: what they return, and that nothing leads out of it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import ToolError
from app.tools.base import ToolContext
from app.tools.files import MOST_TEXT, ListFiles, ReadFile, SearchFiles, inside

TOOLS = {"list": ListFiles(), "read": ReadFile(), "search": SearchFiles()}


async def use(tool: str, context: ToolContext, **arguments: Any) -> str:
    return await TOOLS[tool].run(arguments, context, lambda text: None)


async def fault(tool: str, context: ToolContext, **arguments: Any) -> str:
    with pytest.raises(ToolError) as caught:
        await use(tool, context, **arguments)
    return caught.value.message


@pytest.fixture
def folder(context: ToolContext) -> Path:
    assert context.folder is not None
    (context.folder / "notes").mkdir()
    (context.folder / "notes" / "plan.md").write_text("# Plan\nBuy Milk\n\nmilk again\n")
    (context.folder / "b.txt").write_text("one\ntwo\nthree\nfour\n")
    (context.folder / "a.txt").write_text("")
    return context.folder


async def test_list(context: ToolContext, folder: Path) -> None:
    assert await use("list", context) == "a.txt\nb.txt\nnotes/"
    assert await use("list", context, path="notes/") == "plan.md"
    (folder / "empty").mkdir()
    assert await use("list", context, path="empty") == "(empty)"
    assert await fault("list", context, path="nope") == "no folder named nope"
    assert await fault("list", context, path="b.txt") == "no folder named b.txt"


async def test_read(context: ToolContext, folder: Path) -> None:
    assert await use("read", context, path="b.txt") == "one\ntwo\nthree\nfour"
    assert await use("read", context, path="./b.txt", start=2, lines=2) == "two\nthree"
    assert await use("read", context, path="b.txt", start=9) == "(empty)"
    assert await use("read", context, path="a.txt") == "(empty)"
    assert await use("read", context, path=str(folder / "b.txt"), lines=1) == "one"
    assert await fault("read", context, path="plans.txt") == "no file named plans.txt"
    assert await fault("read", context, path="notes") in (
        "no file named notes",
        "cannot read notes: Is a directory",
    )


async def test_read_what_is_not_plain_text(context: ToolContext, folder: Path) -> None:
    (folder / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    assert await fault("read", context, path="image.png") == "image.png is not a text file"
    os.mkfifo(folder / "pipe")
    assert await fault("read", context, path="pipe") == "no file named pipe"
    (folder / "latin.txt").write_bytes("\ufeffcafé\r\n".encode("utf-8") + b"caf\xe9\n")
    assert await use("read", context, path="latin.txt") == "café\ncaf\ufffd"


async def test_long_files_are_read_in_parts(context: ToolContext, folder: Path) -> None:
    lines = [f"line {n}" for n in range(1, 20_001)]
    (folder / "long.txt").write_text("\n".join(lines))
    seen: list[str] = []
    start = 1
    while True:
        part = (await use("read", context, path="long.txt", start=start)).split("\n")
        assert sum(map(len, part)) < MOST_TEXT + 100
        if not part[-1].startswith("(cut here"):
            break
        seen += part[:-1]
        start = int(part[-1].rstrip(")").split()[-1])
        assert start == len(seen) + 1
    assert seen + part == lines


async def test_search(context: ToolContext, folder: Path) -> None:
    hits = "notes/plan.md:2: Buy Milk\nnotes/plan.md:4: milk again"
    assert await use("search", context, query="MILK") == hits
    assert await use("search", context, query="milk", path="notes/plan.md") == hits
    assert await use("search", context, query="beer") == "no matches"
    (folder / "many.txt").write_text("x\n" * 60)
    found = (await use("search", context, query="x", path="many.txt")).split("\n")
    assert found[49] == "many.txt:50: x"
    assert found[50] == "(more hits left out; search for something rarer)"
    assert await fault("search", context, query="x", path="nope") == "no folder named nope"


async def test_nothing_leads_out(context: ToolContext, folder: Path) -> None:
    secret = folder.parent / "secret.txt"
    secret.write_text("secret")
    (folder / "link.txt").symlink_to(secret)
    (folder / "up").symlink_to(folder.parent)
    (folder / "loop").symlink_to(folder / "loop")
    for path in (
        "../secret.txt",
        str(secret),
        "link.txt",
        "up/secret.txt",
        "notes/../../secret.txt",
    ):
        assert await fault("read", context, path=path) == f"{path} is outside the folder"
    assert await fault("list", context, path="up") == "up is outside the folder"
    assert await fault("list", context, path="/") == "/ is outside the folder"
    assert await use("search", context, query="secret") == "no matches"
    assert "loop" in await fault("read", context, path="loop")
    assert await fault("read", context, path="a\0b") == "no file has such a name"
    assert await fault("read", replace(context, folder=None), path="b.txt") == "no folder is open"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["..", ".", "notes", "/", "up", "b.txt", "~", "…"]), max_size=8))
def test_every_path_stays_inside(context: ToolContext, parts: list[str]) -> None:
    folder = context.folder
    assert folder is not None
    if not (folder / "up").is_symlink():
        (folder / "up").symlink_to(folder.parent)
    try:
        assert inside(folder, "/".join(parts)).is_relative_to(folder.resolve())
    except ToolError as error:
        assert error.code in ("outside", "no_such_file")
