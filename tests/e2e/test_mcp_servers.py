"""The MCP client against servers that others wrote, from PyPI and npm. Run with --slow.

Each is fetched into the test's own folder; where a registry or node is out of reach, it is skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.errors import ToolError
from app.mcp.config import McpServer
from app.mcp.connection import Connection

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of its own with the servers of PyPI."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    found = folder / "bin" / "python"
    names = ["mcp-server-git", "mcp-server-fetch", "mcp-server-sqlite"]
    command = [str(found), "-m", "pip", "install", "-q", *names]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("PyPI is out of reach")
    return found


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


async def test_git(python: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    (repository / "a.txt").write_text("hello")
    subprocess.run([*git, "add", "a.txt"], check=True)
    subprocess.run([*git, "commit", "-qm", "first light"], check=True)
    arguments = ("-m", "mcp_server_git", "--repository", str(repository))
    async with connected(tmp_path, command=str(python), args=arguments) as made:
        assert "first light" in await call(made, "git_log", repo_path=str(repository))
        assert "clean" in await call(made, "git_status", repo_path=str(repository))
        with pytest.raises(ToolError):
            await call(made, "git_status", repo_path="/nowhere")


async def test_sqlite(python: Path, tmp_path: Path) -> None:
    arguments = ("-m", "mcp_server_sqlite", "--db-path", str(tmp_path / "x.db"))
    async with connected(tmp_path, command=str(python), args=arguments) as made:
        await call(made, "create_table", query="CREATE TABLE t (a INTEGER)")
        await call(made, "write_query", query="INSERT INTO t VALUES (42)")
        assert "42" in await call(made, "read_query", query="SELECT a FROM t")
        assert "t" in await call(made, "list_tables")


async def test_fetch(python: Path, tmp_path: Path) -> None:
    async with connected(tmp_path, command=str(python), args=("-m", "mcp_server_fetch")) as made:
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


async def test_everything_over_http(node: Path, tmp_path: Path, unused_tcp_port: int) -> None:
    import asyncio
    import os

    program = str(node / "mcp-server-everything")
    process = await asyncio.create_subprocess_exec(
        program,
        "streamableHttp",
        env={**os.environ, "PORT": str(unused_tcp_port)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(60):
            while b"port" not in (await process.stderr.readline()).lower():
                pass
        url = f"http://127.0.0.1:{unused_tcp_port}/mcp"
        async with connected(tmp_path, url=url) as made:
            assert "Echo: hi" in await call(made, "echo", message="hi")
    finally:
        process.terminate()
        await process.wait()
