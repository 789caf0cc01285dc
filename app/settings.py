"""A person's settings: one struct, one JSON file, saved whole or not at all."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Literal

import msgspec

from app.endpoints.config import Endpoint
from app.engines.options import EngineOptions
from app.events import RunSettings
from app.guard.rules import DEFAULT, GuardRule
from app.mcp.config import McpServer
from app.notices import Notice
from app.paths import folder_error
from app.trust.policy import Rule


class Collection(msgspec.Struct, frozen=True):
    """A folder of documents that the offline index covers."""

    name: str
    folder: str


class SearchSettings(msgspec.Struct, frozen=True):
    """Where ``web_search`` looks."""

    provider: Literal["index", "searxng", "brave", "tavily", "kagi"] = "index"
    """``index``: the collections, without a network."""
    url: str = ""
    """SearXNG's address; for the others empty: where they usually are."""
    key: str = ""


class SandboxSettings(msgspec.Struct, frozen=True):
    """What code and commands of tools may use; all of a call's processes together."""

    network: bool = False
    """With it they reach everything that this machine does, its own services, too."""
    memory_mib: int = 4096
    disk_mib: int = 4096
    processes: int = 256
    seconds: int = 120
    """A command of the shell, where it asks for no other time."""


class WindowLayout(msgspec.Struct, frozen=True):
    """Qt's own description of the window, base64; empty: the default."""

    geometry: str = ""
    state: str = ""
    trace: bool = False
    conversation: str = ""
    """The one that was shown last."""


class Settings(msgspec.Struct, frozen=True):
    """Everything that is remembered beside the conversations."""

    theme: Literal["system", "light", "dark"] = "system"
    model: str = ""
    """The folder of the model our engine loads; empty: the embedded one."""
    models: dict[str, EngineOptions] = {}
    """How models are loaded that were chosen once, by folder; empty: the embedded one."""
    start_engine: bool = True
    """Whether the window starts the engine when it opens."""
    snapshots: bool = True
    """Whether what was computed of conversations stays on disk, for a quick start next time."""
    snapshot_bytes: int = 0
    """At most; 0: the engine decides by the free space."""
    run: RunSettings = RunSettings()
    """What a new turn is run with."""
    approvals: tuple[Rule, ...] = ()
    """Which calls need not be asked about, must be, or never run."""
    guards: tuple[GuardRule, ...] = DEFAULT
    endpoints: tuple[Endpoint, ...] = ()
    collections: tuple[Collection, ...] = ()
    search: SearchSettings = SearchSettings()
    mcp_servers: dict[str, McpServer] = {}
    mcp_file: str = ""
    """A file in the common ``mcpServers`` form, whose servers are there, too."""
    allow_private: tuple[str, ...] = ()
    """Hosts, addresses and networks on this machine or near it that pages may be opened from."""
    sandbox: SandboxSettings = SandboxSettings()
    on_close: Literal["keep", "ask", "stop"] = "keep"
    """What closing the window does while a run goes on: it stays in the tray (where there is none,
    a person is asked), a person is asked, or the run is stopped."""
    notify: bool = True
    """Whether the desktop says when a run ends or asks, unless the window is in front."""
    window: WindowLayout = WindowLayout()


def load_settings(path: Path) -> tuple[Settings, Notice | None]:
    """The stored settings, or the defaults if there are none.

    A file that cannot be understood is moved aside and named in the notice. Raises StoreError
    when the file system refuses.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Settings(), None
    except OSError as error:
        raise folder_error(path, error) from error
    try:
        return msgspec.json.decode(data, type=Settings), None
    except msgspec.DecodeError as error:
        aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        try:
            path.replace(aside)
        except OSError as refused:
            raise folder_error(path, refused) from refused
        return Settings(), Notice(
            "settings_damaged",
            f"The settings could not be read ({error}); the defaults are used.",
            f"The old file was kept as {aside}.",
        )


def save_settings(path: Path, settings: Settings) -> None:
    """Write beside the file, then put it in its place. Raises StoreError; the old file stays."""
    data = msgspec.json.format(msgspec.json.encode(settings), indent=2)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise folder_error(path, error) from error
