"""Core: the one object that a window or a terminal holds. It owns the asyncio thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from app import events as ev
from app.agent.context_map import ContextMap, Surveyor
from app.agent.patience import Patience
from app.backends.base import Backend
from app.bus import Bus
from app.conversations import Conversations
from app.endpoints import trial
from app.endpoints.config import Endpoint
from app.endpoints.serving import Endpoints
from app.endpoints.trial import Listing, Trial
from app.engines.view import EngineView
from app.errors import RequestError, StoreError
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
from app.settings import Settings, load_settings, save_settings
from app.state import ConversationState
from app.store.blobs import Blobs
from app.store.db import Database
from app.store.decisions import Decision, decisions
from app.store.journal import ConversationSummary, Journal
from app.tools.registry import Toolbox
from app.tools.sandbox.control_group import remove_stale
from app.trust.policy import Rule
from app.undoing import undo_change
from engine.protocol import ExpertReport, HeatWindow

Result = TypeVar("Result")


class Core:
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
        self._started: Future[None] = Future()
        self._ready = False
        self._pending: set[Future[Any]] = set()
        self._tasks: dict[Future[Any], asyncio.Task[None]] = {}
        self._thread: threading.Thread | None = None
        self._surveyor = Surveyor()
        self._loop: asyncio.AbstractEventLoop
        self._closing: asyncio.Event
        self._conversations: Conversations
        self._endpoints: Endpoints
        self._journal: Journal
        self._servers: Hub

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the database, mark runs that were cut off, and be ready. Raises StoreError."""
        if self._thread is not None:
            return
        self.paths.make()
        self._thread = threading.Thread(target=self._run, name="core")
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self._thread.join()
            raise

    def close(self) -> None:
        """Stop the runs, the engine and the thread. Idempotent; returns when all are gone."""
        thread = self._thread
        if thread is None or not thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._closing.set)
        thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())
        for future in tuple(self._pending):
            _refuse(future)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        async with AsyncExitStack() as stack:
            try:
                await self._open(stack)
            except BaseException as error:
                self._started.set_exception(error)
                return
            self._ready = True
            self._started.set_result(None)
            await self._closing.wait()

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
        self._loop.call_soon_threadsafe(lambda: listener(self._endpoints.view))
        return self._views.subscribe(listener)

    # -- queries ------------------------------------------------------------------------------

    def conversations(self) -> Future[tuple[ConversationSummary, ...]]:
        """Those that are not deleted, the newest first."""
        return self._do(lambda: self._journal.summaries())

    def open(self, conversation: str) -> Future[ConversationState]:
        """The state at a point; listeners hear everything after it.

        Events with ``0 < seq <= state.last_seq`` are contained in it. The future is resolved on
        the core thread, so a callback added before it resolves runs before the next event.
        """
        return self._do(lambda: self._journal.state(conversation))

    def context_map(self, conversation: str, lane: str = "") -> Future[ContextMap]:
        """What fills the window of the shown branch, or of a lane."""
        return self._await(lambda: self._survey(conversation, lane))

    async def _survey(self, conversation: str, lane: str) -> ContextMap:
        state = self._journal.state(conversation)
        path = state.path()
        backend = await self._endpoints.at_hand(path[-1].settings) if path else None
        return await self._surveyor.survey(state, backend, lane)

    def events(self, conversation: str) -> Future[tuple[Event, ...]]:
        """Everything stored, in order."""
        return self._do(lambda: self._journal.events(conversation))

    def decisions(self, limit: int = 300) -> Future[list[Decision]]:
        """Who allowed what, in all conversations, the newest first."""
        return self._await(lambda: asyncio.to_thread(decisions, self.paths.database, limit))

    # -- commands -----------------------------------------------------------------------------

    def create_conversation(self, title: str = "", folder: str = "") -> Future[str]:
        return self._do(lambda: self._conversations.create(title, folder))

    def rename(self, conversation: str, title: str) -> Future[None]:
        return self._do(lambda: self._conversations.rename(conversation, title))

    def delete(self, conversation: str) -> Future[None]:
        """Hide it; a run in it is stopped first."""
        return self._await(lambda: self._conversations.delete(conversation))

    def restore(self, conversation: str) -> Future[None]:
        return self._do(lambda: self._conversations.restore(conversation))

    def set_folder(self, conversation: str, folder: str) -> Future[None]:
        return self._do(lambda: self._conversations.set_folder(conversation, folder))

    def send(
        self,
        conversation: str,
        text: str,
        settings: ev.RunSettings | None = None,
        *,
        unattended: ev.Unattended | None = None,
    ) -> Future[str]:
        """Begin a turn; its id. ``unattended``: nobody is there, and this is what may run."""
        return self._do(lambda: self._conversations.send(conversation, text, settings, unattended))

    def regenerate(
        self, conversation: str, turn: str, settings: ev.RunSettings | None = None
    ) -> Future[str]:
        return self._do(lambda: self._conversations.regenerate(conversation, turn, settings))

    def fork(
        self,
        conversation: str,
        turn: str,
        steps: int,
        settings: ev.RunSettings | None = None,
        *,
        paused: bool = False,
    ) -> Future[str]:
        """Go on from a turn's first ``steps`` steps on a branch of its own; the new turn's id."""
        return self._do(
            lambda: self._conversations.fork(conversation, turn, steps, settings, paused)
        )

    def pause(self, conversation: str) -> Future[None]:
        """Before the next step, before a reply's calls, or after their results."""
        return self._do(lambda: self._conversations.pause(conversation))

    def proceed(self, conversation: str, mode: ev.GoMode = "go") -> Future[None]:
        """Let a paused run go on; ``step``: until its next step."""
        return self._do(lambda: self._conversations.proceed(conversation, mode))

    def set_breakpoints(self, conversation: str, points: tuple[ev.Breakpoint, ...]) -> Future[None]:
        return self._do(lambda: self._conversations.set_breakpoints(conversation, points))

    def queue_message(self, conversation: str, text: str) -> Future[None]:
        """Tell the model of a run something before its next step."""
        return self._do(lambda: self._conversations.queue(conversation, text))

    def unqueue_message(self, conversation: str, message: str) -> Future[None]:
        """Take back what no step has taken yet."""
        return self._do(lambda: self._conversations.unqueue(conversation, message))

    def stop_lane(self, conversation: str, lane: str) -> Future[None]:
        """Stop one lane of a run and let the others run."""
        return self._do(lambda: self._conversations.stop_lane(conversation, lane))

    def edit_call(self, conversation: str, call: str, arguments: str) -> Future[None]:
        """Change a call that waits for approval, or before which the run is paused."""
        return self._do(lambda: self._conversations.edit_call(conversation, call, arguments))

    def edit_result(self, conversation: str, call: str, result: str) -> Future[None]:
        """Change what the model will read of a call; the run has to be paused."""
        return self._do(lambda: self._conversations.edit_result(conversation, call, result))

    def edit_reasoning(self, conversation: str, step: str, text: str) -> Future[None]:
        """Change the reasoning of a step: in a paused run, or while it is written."""
        return self._do(lambda: self._conversations.edit_reasoning(conversation, step, text))

    def edit(self, conversation: str, turn: str, text: str) -> Future[str]:
        return self._do(lambda: self._conversations.edit(conversation, turn, text))

    def select(self, conversation: str, turn: str) -> Future[None]:
        return self._do(lambda: self._conversations.select(conversation, turn))

    def resume(
        self, conversation: str, turn: str, *, unattended: ev.Unattended | None = None
    ) -> Future[None]:
        """Go on with an interrupted, stopped or failed turn after its last finished step."""
        return self._do(lambda: self._conversations.resume(conversation, turn, unattended))

    def stop(self, conversation: str, mode: ev.StopMode = "now") -> Future[None]:
        """``now``: resolved when the run has ended."""
        return self._await(lambda: self._conversations.stop(conversation, mode))

    def wait(self, conversation: str) -> Future[None]:
        """Resolved when no run of this conversation goes on."""
        return self._await(lambda: self._conversations.wait(conversation))

    def answer_form(
        self, conversation: str, form: str, action: ev.FormAction, content: dict[str, Any]
    ) -> Future[None]:
        """What a person made of a form that a tool's server asked for."""
        return self._do(
            lambda: self._conversations.answer_form(conversation, form, action, content)
        )

    def decide(
        self,
        conversation: str,
        call: str,
        decision: ev.Decision,
        reason: str = "",
        *,
        rule: str = "",
        arguments: str | None = None,
    ) -> Future[None]:
        """Answer a call that asks. ``rule``: the pattern that ``run`` and ``always`` are kept as,
        "": the first that was suggested. ``arguments``: as the person changed them.
        """
        return self._do(
            lambda: self._conversations.decide(
                conversation, call, decision, reason, rule, arguments
            )
        )

    def set_unattended(self, conversation: str, scope: ev.Unattended | None) -> Future[None]:
        """What may run with nobody there, until a time; None: the person is back."""
        return self._do(lambda: self._conversations.set_unattended(conversation, scope))

    def undo_change(self, conversation: str, change: str) -> Future[None]:
        """Bring back what a file was before a call changed it; refused if it changed since."""
        return self._await(lambda: undo_change(self._journal, self.blobs, conversation, change))

    # -- endpoints ----------------------------------------------------------------------------

    def list_models(self, endpoint: Endpoint) -> Future[Listing]:
        """What an endpoint says it has; the settings need not know it."""
        return self._await(lambda: trial.list_models(endpoint))

    def try_model(self, endpoint: Endpoint) -> Future[Trial]:
        """A small request with a tool; it may cost something."""
        return self._await(lambda: trial.try_model(endpoint))

    def cancel(self, future: Future[Any]) -> None:
        """Break off what is behind a future of this core; it ends as RequestError ``cancelled``.
        Only for what leaves nothing half done.
        """
        self._do(lambda: self._cancel(future))

    def _cancel(self, future: Future[Any]) -> None:
        task = self._tasks.get(future)
        if task is not None:
            task.cancel()

    # -- guards -------------------------------------------------------------------------------

    def own_functions(self) -> Future[tuple[OwnFunction, ...]]:
        """Those of the trusted folder; nothing of them is run."""
        folder = TrustedFolder(self.paths.guards)
        return self._await(lambda: asyncio.to_thread(folder.listed))

    def try_guard(self, rule: GuardRule, text: str) -> Future[Tried]:
        """What a rule finds in a text, in a process of its own with a limit of time."""
        return self._await(lambda: try_rule(rule, text, self.paths.guards))

    # -- servers of tools -----------------------------------------------------------------------

    def servers(self) -> Future[tuple[tuple[ServerView, ...], str]]:
        """The MCP servers of the settings, and what is wrong with the file that they name."""
        return self._do(lambda: self._servers.views())

    def start_server(self, name: str) -> Future[None]:
        """Begin an MCP server (anew); its view says what came of it."""
        return self._await(lambda: self._servers.start(name))

    # -- engine -------------------------------------------------------------------------------

    def start_engine(self, model: Path | None = None) -> Future[None]:
        """Resolved when the model is loaded. A run that needs the engine starts it, too."""
        return self._await(lambda: self._endpoints.start_engine(model))

    def restart_engine(self) -> Future[None]:
        return self._await(lambda: self._endpoints.restart_engine())

    def stop_engine(self) -> Future[None]:
        return self._await(lambda: self._endpoints.stop_engine())

    def experts(self, window: HeatWindow = "start") -> Future[ExpertReport | None]:
        """Where the engine's experts are and how often each was chosen; None without an engine."""
        return self._await(lambda: self._endpoints.experts(window))

    def engine_log(self) -> tuple[str, ...]:
        return self._endpoints.log()

    # -- inside -------------------------------------------------------------------------------

    def _do(self, work: Callable[[], Result]) -> Future[Result]:
        """Run ``work`` on the core thread; its result is set before anything else happens there."""
        future: Future[Result] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)

        self._hand_over(call, future)
        return future

    def _await(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Future[Result]:
        future: Future[Result] = Future()

        async def call() -> None:
            try:
                result = await work()
            except asyncio.CancelledError:
                _refuse(future, RequestError("cancelled", "it was cancelled"))
                raise
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        def begin() -> None:
            if future.set_running_or_notify_cancel():
                task = asyncio.create_task(call())
                self._tasks[future] = task
                task.add_done_callback(lambda _: self._tasks.pop(future))

        self._hand_over(begin, future)
        return future

    def _hand_over(self, call: Callable[[], None], future: Future[Result]) -> None:
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        try:
            if not self._ready or self._closing.is_set():
                raise RuntimeError
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop is closed
            _refuse(future)


def _refuse(future: Future[Any], why: RequestError | None = None) -> None:
    if not future.done():
        future.set_exception(why or RequestError("closed", "the core is not running"))
