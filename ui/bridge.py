"""Between the core's thread and Qt's: one queue in, signals out, commands back.

Core callbacks only append to a queue and wake Qt once; Qt empties the queue at display rate,
folds the events of the open conversation and announces the new state. Work per frame is bounded.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from shiboken6 import isValid

from app import events as ev
from app.core import Core
from app.engines.view import EngineView
from app.errors import SelenographError
from app.events import Event
from app.state import ConversationState, fold

_FRAME_MS = 30
_FRAME_BUDGET_S = 0.012
Result = TypeVar("Result")

_LIST_EVENTS = (
    ev.ConversationCreated,
    ev.ConversationRenamed,
    ev.ConversationDeleted,
    ev.ConversationRestored,
    ev.TurnBegin,
    ev.TurnEnd,
    ev.TurnResumed,
)
_TOLD_EVENTS = (
    ev.TurnBegin,
    ev.TurnEnd,
    ev.TurnResumed,
    ev.ApprovalAsked,
    ev.Paused,
    ev.EndpointLost,
    ev.FormAsked,
    ev.FormAnswered,
)


@dataclass(frozen=True, slots=True)
class _Opened:
    state: ConversationState


@dataclass(frozen=True, slots=True)
class _Call:
    """Something to be done on the Qt thread."""

    work: Callable[[], None]


class Bridge(QObject):
    """Qt main thread. Signals: ``state_changed(ConversationState)``,
    ``engine_changed(EngineView)``, ``list_changed(tuple)`` of summaries, ``failed(error)``.
    """

    state_changed = Signal(object)
    engine_changed = Signal(object)
    list_changed = Signal(object)
    failed = Signal(object)
    heard = Signal(object)
    """An event of any conversation that a person may want to be told of."""
    _woken = Signal()

    def __init__(self, core: Core, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.core = core
        self.state = ConversationState()
        self.engine = EngineView()
        self._queue: deque[Event | EngineView | _Opened | _Call] = deque()
        self._awake = False
        self._current = ""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_FRAME_MS)
        self._timer.timeout.connect(self._frame)
        self._woken.connect(self._wake, Qt.ConnectionType.QueuedConnection)
        self._leave = [core.subscribe(self._put), core.subscribe_engine(self._put)]

    def close(self) -> None:
        """Hear nothing more."""
        for leave in self._leave:
            leave()
        self._leave.clear()
        self._timer.stop()

    # -- commands

    def open(self, conversation: str) -> None:
        """Show a conversation; its state arrives by ``state_changed``."""
        self._current = conversation
        future = self.core.open(conversation)
        # Runs on the core thread before the next event, so nothing is missed or doubled.
        future.add_done_callback(self._opened)

    def show_nothing(self) -> None:
        """An empty page; nothing is stored yet."""
        self._current = ""
        self.state = ConversationState()
        self.state_changed.emit(self.state)

    def refresh_list(self) -> None:
        """Ask for the summaries anew."""
        self.then(self.core.conversations(), self.list_changed.emit)

    def then(
        self,
        future: Future[Result],
        work: Callable[[Result], Any] | None = None,
        failed: Callable[[Exception], Any] | None = None,
        owner: QObject | None = None,
    ) -> None:
        """Do `work` with the result on the Qt thread; a failure goes to `failed`, else to the
        signal of that name. Nothing is done when the `owner` of what they would change is gone.
        """
        fail = failed or self.failed.emit

        def put(work: Callable[[], object]) -> None:
            def call() -> None:
                if owner is None or isValid(owner):
                    work()

            self._put(_Call(call))

        def done(finished: Future[Result]) -> None:
            if finished.cancelled():
                return
            error = finished.exception()
            if error is None:
                if work is not None:
                    result = finished.result()
                    put(lambda: work(result))
            elif isinstance(error, Exception):
                put(lambda: fail(error))

        future.add_done_callback(done)

    # -- any thread

    def _opened(self, future: Future[ConversationState]) -> None:
        error = future.exception()
        if error is None:
            self._put(_Opened(future.result()))
        elif isinstance(error, SelenographError):
            self._put(_Call(lambda: self.failed.emit(error)))

    def _put(self, item: Event | EngineView | _Opened | _Call) -> None:
        self._queue.append(item)
        if not self._awake:
            self._awake = True
            self._woken.emit()

    # -- Qt thread

    def _wake(self) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _frame(self) -> None:
        """Take what fits into a frame; announce each kind of change once."""
        self._awake = False
        before, engine, listed = self.state, self.engine, False
        calls: list[_Call] = []
        until = time.monotonic() + _FRAME_BUDGET_S
        while self._queue and time.monotonic() < until:
            item = self._queue.popleft()
            if isinstance(item, Event):
                self._fold(item)
                listed = listed or isinstance(item.body, _LIST_EVENTS)
                if isinstance(item.body, _TOLD_EVENTS):
                    self.heard.emit(item)
            elif isinstance(item, EngineView):
                self.engine = item
            elif isinstance(item, _Opened):
                if item.state.id == self._current:
                    self.state = item.state
            else:
                calls.append(item)
        if self._queue:
            self._timer.start()
        if self.engine is not engine:
            self.engine_changed.emit(self.engine)
        if self.state is not before:
            self.state_changed.emit(self.state)
        if listed:
            self.refresh_list()
        for call in calls:
            call.work()

    def _fold(self, event: Event) -> None:
        if event.conversation != self.state.id or self.state.id != self._current:
            return
        if not 0 < event.seq <= self.state.last_seq:
            self.state = fold(self.state, event)
