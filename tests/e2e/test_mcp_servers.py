"""The MCP client against servers that others wrote, from PyPI and npm. Run with --slow.

Each is fetched into the test's own folder; where a registry or node is out of reach, it is skipped.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from app import events as ev
from app.errors import ToolError
from app.mcp.config import McpServer
from app.mcp.connection import Connection
from app.tools.base import FormReply
from ui.forms import FormDialog

Fetch = Callable[..., dict[str, Any]]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def fetched(tmp_path: Path) -> Fetch:
    """Fetches a server from PyPI into a folder of its own; how to start it."""

    def fetch(name: str, *words: str, beside: tuple[str, ...] = ()) -> dict[str, Any]:
        folder = tmp_path / "packages"
        pip = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder)]
        if subprocess.run([*pip, name, *beside], capture_output=True).returncode:
            pytest.skip("PyPI is out of reach")
        code = f"import {name.replace('-', '_')} as server; server.main()"
        env = {"PYTHONPATH": str(folder)}
        return {"command": sys.executable, "args": ("-c", code, *words), "env": env}

    return fetch


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the servers of npm."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm")
    folder = tmp_path_factory.mktemp("node")
    names = [f"@modelcontextprotocol/server-{name}" for name in ("filesystem", "everything")]
    command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", *names]
    if subprocess.run(command, capture_output=True, timeout=600).returncode:
        pytest.skip("npm's registry is out of reach")
    return folder / "node_modules" / ".bin"


@asynccontextmanager
async def connected(logs: Path, **server: Any) -> AsyncIterator[Connection]:
    made = Connection("x", McpServer(**server), logs)
    try:
        await made.connect()
        yield made
    finally:
        await made.close()


async def call(made: Connection, name: str, said: list[str] | None = None, **arguments: Any) -> str:
    heard = [] if said is None else said
    return await made.call(made.offers[f"x__{name}"], arguments, heard.append)


async def test_git(fetched: Fetch, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    (repository / "a.txt").write_text("hello")
    subprocess.run([*git, "add", "a.txt"], check=True)
    subprocess.run([*git, "commit", "-qm", "first light"], check=True)
    server = fetched("mcp-server-git", "--repository", str(repository))
    async with connected(tmp_path, **server) as made:
        assert "first light" in await call(made, "git_log", repo_path=str(repository))
        assert "clean" in await call(made, "git_status", repo_path=str(repository))
        with pytest.raises(ToolError):
            await call(made, "git_status", repo_path="/nowhere")


async def test_sqlite(fetched: Fetch, tmp_path: Path) -> None:
    # Its last release knows only the SDK's first version, which it does not say.
    server = fetched("mcp-server-sqlite", "--db-path", str(tmp_path / "x.db"), beside=("mcp<2",))
    async with connected(tmp_path, **server) as made:
        await call(made, "create_table", query="CREATE TABLE t (a INTEGER)")
        await call(made, "write_query", query="INSERT INTO t VALUES (42)")
        assert "42" in await call(made, "read_query", query="SELECT a FROM t")
        assert "t" in await call(made, "list_tables")


async def test_fetch(fetched: Fetch, tmp_path: Path) -> None:
    async with connected(tmp_path, **fetched("mcp-server-fetch")) as made:
        assert "url" in made.offers["x__fetch"].spec.function.parameters["properties"]
        with pytest.raises(ToolError):
            await call(made, "fetch", url="http://127.0.0.1:9/")


async def test_filesystem(node: Path, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.txt").write_text("hello there")
    program = str(node / "mcp-server-filesystem")
    async with connected(tmp_path, command=program, args=(str(folder),)) as made:
        assert "hello there" in await call(made, "read_text_file", path=str(folder / "a.txt"))
        assert "a.txt" in await call(made, "list_directory", path=str(folder))
        with pytest.raises(ToolError):
            await call(made, "read_text_file", path="/etc/passwd")


async def test_everything(node: Path, tmp_path: Path) -> None:
    program = str(node / "mcp-server-everything")
    async with connected(tmp_path, command=program, args=("stdio",)) as made:
        assert "Echo: hi" in await call(made, "echo", message="hi")
        said: list[str] = []
        name = next(n for n in made.offers if "long" in n.lower()).removeprefix("x__")
        await call(made, name, said, duration=1, steps=4)
        assert len(said) >= 3
        pictures = [n.removeprefix("x__") for n in made.offers if "image" in n.lower()]
        assert "[image: image/png" in await call(made, pictures[0])


class Person:
    """Fills in the window's own form for what a server asks."""

    def __init__(self, bot: QtBot, fills: dict[str, object], button: str) -> None:
        self._bot, self._fills, self._button = bot, fills, button
        self.asked: list[dict[str, Any]] = []

    async def ask(self, server: str, message: str, schema: dict[str, Any]) -> FormReply:
        self.asked.append(schema)
        dialog = FormDialog(ev.FormAsked("call", "form", server, message, schema))
        self._bot.addWidget(dialog)
        answers: list[FormReply] = []
        dialog.answered.connect(lambda action, said: answers.append(FormReply(action, said)))
        for name, value in self._fills.items():
            self._fill(dialog.findChild(QWidget, f"field_{name}"), value)
        button = dialog.findChild(QPushButton, self._button)
        assert isinstance(button, QPushButton)
        button.click()
        return answers[0]

    def _fill(self, field: QWidget | None, value: object) -> None:
        match field:
            case QLineEdit():
                field.setText(str(value))
            case QCheckBox():
                field.setChecked(bool(value))
            case QComboBox():
                field.setCurrentText(str(value))
            case _:
                assert field is not None and isinstance(value, list)
                for check in field.findChildren(QCheckBox):
                    check.setChecked(check.text() in value)


async def test_everything_asks_by_a_form(node: Path, tmp_path: Path, qtbot: QtBot) -> None:
    program = str(node / "mcp-server-everything")
    fills: dict[str, object] = {
        "name": "Ада",
        "check": True,
        "email": "ada@example.org",
        "birthdate": "1815-12-10",
        "integer": 36,
        "untitledSingleSelectEnum": "Phoebe",
        "titledSingleSelectEnum": "Wonder Woman",
        "titledMultipleSelectEnum": ["Salmon", "Trout"],
        "legacyTitledEnum": "Birds",
    }
    async with connected(tmp_path, command=program, args=("stdio",)) as made:
        offer = made.offers["x__trigger-elicitation-request"]

        async def answered(button: str, fills: dict[str, object]) -> str:
            person = Person(qtbot, fills, button)
            result = await made.call(offer, {}, lambda text: None, person.ask)
            assert len(person.asked) == 1
            return result

        sent = await answered("sendForm", fills)
        assert "User provided the requested information" in sent
        assert "- Name: Ада" in sent and "- Agreed to terms: true" in sent
        assert "- Favorite Integer: 36" in sent and "- Favorite Number: 3.14" in sent
        for chosen in ("Phoebe", "hero-3", "fish-2", "fish-3", "pet-3", "Guitar"):
            assert f'"{chosen}"' in sent
        assert '"fish-1"' not in sent and '"homepage"' not in sent
        assert "User declined" in await answered("declineForm", {})
        assert "User cancelled" in await answered("cancelForm", {})
        # Where nobody is there to be asked, and for pages that are to be opened: declined.
        assert "User declined" in await call(made, "trigger-elicitation-request")
        page = await call(made, "trigger-url-elicitation", url="https://example.org/")
        assert "declined" in page


async def test_everything_over_http(node: Path, tmp_path: Path, unused_tcp_port: int) -> None:
    program = str(node / "mcp-server-everything")
    process = await asyncio.create_subprocess_exec(
        program,
        "streamableHttp",
        env={**os.environ, "PORT": str(unused_tcp_port)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(60):
            while b"port" not in (await process.stderr.readline()).lower():
                pass
        url = f"http://localhost:{unused_tcp_port}/mcp"
        async with connected(tmp_path, url=url) as made:
            assert "Echo: hi" in await call(made, "echo", message="hi")
    finally:
        process.terminate()
        await process.wait()
