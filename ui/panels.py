"""The panels beside the chat and what they show: trace, context, engine."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMainWindow, QWidget

from app.agent.context_map import ContextMap
from app.engines.view import EngineView
from app.state import ConversationState
from ui.bridge import Bridge
from ui.context.view import ContextView
from ui.docks import Docks
from ui.engine_panel.panel import EnginePanel
from ui.theme import Theme
from ui.trace.view import TraceView


class Panels(QObject):
    """Each is kept up to date only while it is shown. Signals: ``restart_asked`` of the engine,
    ``model_asked``: another one, or otherwise loaded.
    """

    restart_asked = Signal()
    model_asked = Signal()

    def __init__(self, window: QMainWindow, bridge: Bridge) -> None:
        super().__init__(window)
        self._window, self._bridge, self._core = window, bridge, bridge.core
        self.trace = TraceView()
        self.context = ContextView()
        self.engine = EnginePanel()
        self.engine.restart_asked.connect(self.restart_asked)
        self.engine.model_asked.connect(self.model_asked)
        self.engine.stop_asked.connect(lambda: bridge.then(self._core.stop_engine()))
        self.engine.experts_wanted.connect(
            lambda window: bridge.then(self._core.experts(window), self.engine.set_experts)
        )
        self.context.selected.connect(self.inspect)
        self.context.wanted.connect(self._draw_context)
        self.trace.selected.connect(self._follow_lane)

    def dock(self, gives_way: QWidget) -> None:
        """Put them into the window; ``gives_way`` is hidden where there is no room."""
        self._docks = Docks(self._window, gives_way)
        self._trace = self._docks.add("traceDock", self.tr("Trace"), self.trace)
        self._context = self._docks.add("contextDock", self.tr("Context"), self.context)
        self._engine = self._docks.add("engineDock", self.tr("Engine"), self.engine)

    def settle(self) -> None:
        """The window has its size."""
        self._docks.settle()

    def handlers(self) -> dict[str, Callable[[], object]]:
        """Of the actions that belong here."""
        return {
            "showTrace": lambda: self._docks.toggle(self._trace),
            "showContext": lambda: self._docks.toggle(self._context),
            "showEngine": lambda: self._docks.toggle(self._engine),
        }

    def set_actions(self, actions: dict[str, QAction]) -> None:
        """Their marks follow the panels."""
        for dock, name, shown in (
            (self._trace, "showTrace", self._show_trace),
            (self._context, "showContext", self._show_context),
            (self._engine, "showEngine", self._show_log),
        ):
            self._docks.follow(dock, actions[name], shown)

    @property
    def trace_shown(self) -> bool:
        """Whether the trace is open."""
        return not self._trace.isHidden()

    def show_state(self, state: ConversationState) -> None:
        """Another state of the shown conversation."""
        self._show_trace(state)
        self._show_context()

    def show_engine(self, view: EngineView) -> None:
        """What the engine is doing."""
        self.engine.set_view(view)
        self._show_log()

    def set_theme(self, theme: Theme) -> None:
        """Colours and fonts."""
        for panel in (self.trace, self.context, self.engine):
            panel.set_theme(theme)

    def inspect(self, key: str) -> None:
        """Show what was clicked in the trace."""
        self._docks.show(self._trace)
        self.trace.reveal(key)
        self._follow_lane(key)

    def follow(self, key: str) -> None:
        """Show it there if the trace is visible."""
        if self._trace.isVisible():
            self.trace.reveal(key)

    def open_log(self) -> None:
        """The engine's."""
        self._docks.show(self._engine)
        self.engine.show_log()

    # -- inside -------------------------------------------------------------------------------

    def _show_trace(self, state: ConversationState | None = None) -> None:
        if self.trace_shown:
            self.trace.set_state(self._bridge.state if state is None else state)

    def _show_context(self) -> None:
        if self.context.isVisible():
            self.context.set_state(self._bridge.state)

    def _show_log(self) -> None:
        if not self._engine.isHidden():
            self.engine.set_log(self._core.engine_log())

    def _draw_context(self) -> None:
        wanted = (self._bridge.state.id, self.context.lanes.lane)

        def show(found: ContextMap) -> None:
            if wanted == (self._bridge.state.id, self.context.lanes.lane):
                self.context.set_map(found)

        if self._bridge.state.id:
            self._bridge.then(self._core.context_map(*wanted), show)

    def _follow_lane(self, key: str) -> None:
        turn, _, _ = self.trace.about(key)
        if turn is not None:
            self.context.follow(turn)
