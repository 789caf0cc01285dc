"""Core: the one object that a window or a terminal holds. It owns the asyncio thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from app.agent.context_map import Surveyor
from app.agent.patience import Patience
from app.backends.base import Backend
from app.bus import Bus
from app.conversations import Conversations
from app.core_thread import CoreThread
from app.endpoints import trial
from app.endpoints.config import Endpoint
from app.endpoints.serving import Endpoints
from app.endpoints.trial import Listing, Trial
from app.engines.options import EngineOptions
from app.engines.view import EngineView
from app.errors import StoreError
from app.events import Event
from app.guard.custom import OwnFunction, TrustedFolder
from app.guard.guards import Guards
from app.guard.rules import GuardRule
from app.guard.trial import Tried, try_rule
from app.log import start_log, stop_log
from app.mcp.config import ServerView
from app.mcp.hub import Hub
from app.notices import Notice
from app.paths import Paths
from app.run_commands import RunCommands
from app.settings import Settings, load_settings, save_settings
from app.store.blobs import Blobs
from app.store.db import Database
from app.store.journal import Journal
from app.tools.registry import Toolbox
from app.tools.sandbox.control_group import remove_stale
from app.trust.policy import Rule
from engine.protocol import ExpertReport, HeatWindow, PlanReport


class Core(RunCommands):
    """Every method may be called from any thread; commands return at once with a Future.

    Expected failures are :class:`app.errors.SelenographError`, raised by ``Future.result``.
    """

    def __init__(
        self,
        paths: Paths,
        settings: Settings | None = None,
        backend: Backend | None = None,
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> None:
        """``settings``: used instead of the stored ones, which are then not read.

        ``backend``: answers every run instead of an engine. ``patience``: with endpoints that fail.
        Raises StoreError.
        """
        self.paths = paths
        self.notices: tuple[Notice, ...] = ()
        self.blobs = Blobs(paths.blobs)
        """What artefacts and changes of files refer to; readable from any thread."""
        self._settings_lock = threading.Lock()
        if settings is None:
            settings, notice = load_settings(paths.settings)
            self.notices = (notice,) if notice else ()
        self._settings = settings
        self._backend = backend
        self._patience = patience
        self._events: Bus[Event] = Bus()
        self._views: Bus[EngineView] = Bus()
        self._thread = CoreThread(self._open)
        self._surveyor = Surveyor()
        self._conversations: Conversations
        self._endpoints: Endpoints
        self._journal: Journal
        self._servers: Hub

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the database, mark runs that were cut off, and be ready. Raises StoreError."""
        self.paths.make()
        self._thread.start()

    def close(self) -> None:
        """Stop the runs, the engine and the thread. Idempotent; returns when all are gone."""
        self._thread.close()

    def cancel(self, future: Future[Any]) -> None:
        """Break off what is behind a future of this core; it ends as RequestError ``cancelled``.
        Only for what leaves nothing half done.
        """
        self._thread.cancel(future)

    async def _open(self, stack: AsyncExitStack) -> None:
        """What is opened here is closed in the opposite order."""
        stack.callback(stop_log, start_log(self.paths.logs))
        database, notice = Database.open(self.paths.database)
        stack.callback(database.close)
        if notice:
            self.notices = (*self.notices, notice)
        self._journal = Journal(database, self._events)
        self._journal.recover()
        stack.callback(self._journal.close)
        await asyncio.to_thread(remove_stale)
        self._endpoints = Endpoints(
            lambda: self._settings, self.paths, self._views.publish, self._backend
        )
        stack.push_async_callback(self._endpoints.close)
        tools = Toolbox(lambda: self._settings, self.paths)
        self._servers = tools.servers
        stack.push_async_callback(tools.close)
        self._conversations = Conversations(
            self._journal,
            tools,
            self._endpoints.find,
            lambda: self._settings,
            self._keep_rule,
            self.paths.scratch,
            self._patience,
            blobs=self.blobs,
            guards=Guards(lambda: self._settings.guards, self.paths.guards),
        )
        stack.push_async_callback(self._conversations.close)

    # -- settings -----------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        return self._settings

    def save_settings(self, settings: Settings) -> None:
        """In force at once, even if it raises StoreError because it could not be saved."""
        with self._settings_lock:
            self._settings = settings
            save_settings(self.paths.settings, settings)

    def _keep_rule(self, rule: Rule) -> None:
        old = self._settings
        try:
            self.save_settings(msgspec.structs.replace(old, approvals=(*old.approvals, rule)))
        except StoreError as error:
            self.notices = (*self.notices, Notice(error.code, error.message, error.hint))

    # -- listening ----------------------------------------------------------------------------

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """``listener`` is called on the core thread with everything stored or published."""
        return self._events.subscribe(listener)

    def subscribe_engine(self, listener: Callable[[EngineView], None]) -> Callable[[], None]:
        """``listener`` is called on the core thread: at once with the present view, then on
        every change."""
        self._thread.call(lambda: listener(self._endpoints.view))
        return self._views.subscribe(listener)

    # -- endpoints ----------------------------------------------------------------------------

    def list_models(self, endpoint: Endpoint) -> Future[Listing]:
        """What an endpoint says it has; the settings need not know it."""
        return self._thread.wait_for(lambda: trial.list_models(endpoint))

    def try_model(self, endpoint: Endpoint) -> Future[Trial]:
        """A small request with a tool; it may cost something."""
        return self._thread.wait_for(lambda: trial.try_model(endpoint))

    # -- guards -------------------------------------------------------------------------------

    def own_functions(self) -> Future[tuple[OwnFunction, ...]]:
        """Those of the trusted folder; nothing of them is run."""
        folder = TrustedFolder(self.paths.guards)
        return self._thread.wait_for(lambda: asyncio.to_thread(folder.listed))

    def try_guard(self, rule: GuardRule, text: str) -> Future[Tried]:
        """What a rule finds in a text, in a process of its own with a limit of time."""
        return self._thread.wait_for(lambda: try_rule(rule, text, self.paths.guards))

    # -- servers of tools -----------------------------------------------------------------------

    def servers(self) -> Future[tuple[tuple[ServerView, ...], str]]:
        """The MCP servers of the settings, and what is wrong with the file that they name."""
        return self._thread.do(lambda: self._servers.views())

    def start_server(self, name: str) -> Future[None]:
        """Begin an MCP server (anew); its view says what came of it."""
        return self._thread.wait_for(lambda: self._servers.start(name))

    # -- engine -------------------------------------------------------------------------------

    def start_engine(
        self, model: Path | None = None, options: EngineOptions | None = None
    ) -> Future[None]:
        """Resolved when the model is loaded. A run that needs the engine starts it, too.

        ``options``: how, instead of what the settings say of it.
        """
        return self._thread.wait_for(lambda: self._endpoints.start_engine(model, options))

    def open_model(self) -> Future[None]:
        """Load what the settings name, as they say, in the place of what is loaded."""
        return self._thread.wait_for(lambda: self._endpoints.open_model())

    def foretell(
        self, model: Path, options: EngineOptions, *, afresh: bool = False
    ) -> Future[PlanReport]:
        """What a model would do on this machine, which is measured the first time or ``afresh``;
        that takes some seconds.
        """
        return self._thread.wait_for(
            lambda: self._endpoints.foretell(model, options, afresh=afresh)
        )

    def restart_engine(self) -> Future[None]:
        return self._thread.wait_for(lambda: self._endpoints.restart_engine())

    def stop_engine(self) -> Future[None]:
        return self._thread.wait_for(lambda: self._endpoints.stop_engine())

    def experts(self, window: HeatWindow = "start") -> Future[ExpertReport | None]:
        """Where the engine's experts are and how often each was chosen; None without an engine."""
        return self._thread.wait_for(lambda: self._endpoints.experts(window))

    def engine_log(self) -> tuple[str, ...]:
        return self._endpoints.log()
