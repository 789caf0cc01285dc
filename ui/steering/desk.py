"""Steering a run from the window: actions, the trace's menu, editors, breakpoints."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, QPoint
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from app import events as ev
from app.state import ConversationState, Step, ToolRun, Turn
from ui.bridge import Bridge
from ui.chat.row_base import line
from ui.steering.breakpoints import BreakpointPanel
from ui.steering.dialogs import EditDialog, RerunDialog
from ui.steering.run_bar import RunBar
from ui.steering.status import Status, address
from ui.trace.view import TraceView


class SteeringDesk(QObject):
    """Connects the run bar, the trace and the actions with the core's steering commands."""

    def __init__(self, window: QWidget, bridge: Bridge, trace: TraceView) -> None:
        super().__init__(window)
        self._window, self._bridge, self._core, self._trace = window, bridge, bridge.core, trace
        self._status = Status()
        self.bar = RunBar()
        self.panel = BreakpointPanel(window)
        self.panel.changed.connect(lambda points: self._do(self._core.set_breakpoints, points))
        self.bar.continued.connect(lambda: self._do(self._core.proceed, "go"))
        self.bar.stepped.connect(lambda: self._do(self._core.proceed, "step"))
        self.bar.stopped.connect(lambda: self._do(self._core.stop, "now"))
        self.bar.unqueued.connect(lambda id: self._do(self._core.unqueue_message, id))
        self.bar.call_edited.connect(self.edit_call)
        self.bar.result_edited.connect(self.edit_result)
        trace.menu_asked.connect(self._open_menu)
        self._button: QToolButton | None = None
        self._actions: dict[str, QAction] = {}

    def handlers(self) -> dict[str, Callable[[], object]]:
        """Of the actions that belong here."""
        return {
            "pauseRun": self.pause_or_go,
            "stepRun": self.step,
            "toggleBreakpoint": self.toggle_breakpoint,
            "breakpoints": self.open_breakpoints,
            "rerunWith": self.rerun_last,
        }

    def set_actions(self, actions: dict[str, QAction]) -> None:
        """Put them into the trace's toolbar."""
        self._actions = actions
        actions["stopAfterStep"].setIconText(self.tr("Stop after"))  # where room is scarce
        buttons: list[QWidget | None] = []
        for name in ("pauseRun", "stepRun", "stopAfterStep", "breakpoints"):
            made = QToolButton()
            made.setObjectName(f"{name}Button")
            made.setDefaultAction(actions[name])
            made.setProperty("role", "quiet")
            buttons.append(made)
            self._button = made
        bar = line(*buttons, None, spacing=0)
        bar.setContentsMargins(4, 4, 4, 2)
        self._trace.set_toolbar(bar)
        self.set_state(ConversationState())

    def set_state(self, state: ConversationState) -> None:
        """Show and allow what fits the state."""
        status = Status.of(state)
        self.bar.set_state(state)
        if status.breakpoints != self._status.breakpoints:
            self.panel.set_points(status.breakpoints)
        self._status = status
        if not self._actions:
            return
        held = bool(status.held)
        pause = self._actions["pauseRun"]
        away = held and status.held[0].turn.away is not None
        text = self.tr("Continue") if held else self.tr("Pause")
        pause.setText(self.tr("Try now") if away else text)
        tip = self.tr("Go on (F8)") if held else self.tr("Pause at the next place (F8)")
        pause.setToolTip(tip)
        pause.setEnabled(status.running and not status.pausing)
        self._actions["stepRun"].setEnabled(status.running)
        count = len(status.breakpoints)
        text = self.tr("Breakpoints ({n})").format(n=count) if count else self.tr("Breakpoints")
        self._actions["breakpoints"].setText(text)
        for name in ("breakpoints", "toggleBreakpoint"):
            self._actions[name].setEnabled(bool(state.id))
        self._actions["rerunWith"].setEnabled(bool(state.path()) and not state.running)

    # -- commands -----------------------------------------------------------------------------

    def pause_or_go(self) -> None:
        """One key for both."""
        if self._status.held:
            self._do(self._core.proceed, "go")
        elif self._status.running:
            self._do(self._core.pause)

    def step(self) -> None:
        """One step further; a run that is at work pauses first."""
        if self._status.held:
            self._do(self._core.proceed, "step")
        elif self._status.running and not self._status.pausing:
            self._do(self._core.pause)

    def open_breakpoints(self) -> None:
        """By their button, or where the window is if the trace is closed."""
        shown = self._button is not None and self._button.isVisible()
        self.panel.pop_up(self._button if shown and self._button else self._window)

    def toggle_breakpoint(self) -> None:
        """At the line that is chosen in the trace: its tool, or the step."""
        turn, step, run = self._trace.chosen()
        if run is not None:
            self._toggle(ev.Breakpoint("tool", run.name))
        elif turn is not None and step is not None:
            self._toggle(ev.Breakpoint("step", number=turn.steps.index(step) + 1))

    def edit_call(self, call: str, arguments: str) -> None:
        """Open an editor for a call's arguments; ``call`` is its address."""
        self._edit(
            self.tr("Edit the call"),
            arguments,
            lambda text: self._do(self._core.edit_call, call, text),
            as_json=True,
        )

    def edit_result(self, call: str, result: str) -> None:
        """Open an editor for what the model will read."""
        self._edit(
            self.tr("Edit the result"),
            result,
            lambda text: self._do(self._core.edit_result, call, text),
        )

    def rerun_last(self) -> None:
        """The last message again, with other settings."""
        path = self._bridge.state.path()
        if path and not self._bridge.state.running:
            self._rerun(path[-1], None)

    # -- the trace's menu ---------------------------------------------------------------------

    def menu_for(self, turn: Turn, step: Step | None, run: ToolRun | None, key: str) -> QMenu:
        """What can be done with a line of the trace."""
        menu = QMenu(self._window)
        menu.setObjectName("traceMenu")
        running = self._status.running
        held = any(one.turn.id == turn.id for one in self._status.held)
        add = _Adder(menu)
        if run is not None:
            name = address(turn, run.call)
            waits = running and not run.started and run.status is None
            arguments, result = run.arguments, run.result
            add(
                "editCall",
                self.tr("Edit the call…"),
                lambda: self.edit_call(name, arguments),
                waits,
            )
            add(
                "editResult",
                self.tr("Edit the result…"),
                lambda: self.edit_result(name, result),
                held and run.status is not None,
            )
            self._add_point(add, ev.Breakpoint("tool", run.name), run.name)
            for change in run.changes:
                add(
                    "undoChange",
                    self.tr("Undo the change of {path}").format(path=change.path),
                    partial(self._do, self._core.undo_change, change.change),
                    run.can_undo(change),
                )
        if step is None:
            add(
                "rerunTurn",
                self.tr("Run again with…"),
                lambda: self._rerun(turn, None),
                not running,
            )
            return menu
        thought = next((p for p in step.parts if p.id == key and p.kind == "reasoning"), None)
        if thought is not None or run is None:
            written = bool(step.call) and not (step.call and step.call.ended)
            add(
                "editReasoning",
                self.tr("Edit the reasoning…"),
                lambda: self._edit_reasoning(step),
                running and (held or written) and bool(step.call),
            )
        if step.purpose != "act":
            return menu
        index = turn.steps.index(step)
        menu.addSeparator()
        add(
            "rerunStep",
            self.tr("Run again from here"),
            lambda: self._fork(turn, index),
            not running,
        )
        add(
            "rerunStepWith",
            self.tr("Run again from here with…"),
            lambda: self._rerun(turn, index),
            not running,
        )
        add(
            "forkPaused",
            self.tr("Fork after this step, paused"),
            lambda: self._fork(turn, index + 1, paused=True),
            not running and bool(step.ended),
        )
        if run is None:
            point = ev.Breakpoint("step", number=index + 1)
            self._add_point(add, point, self.tr("step {n}").format(n=index + 1))
        return menu

    def _open_menu(self, key: str, place: QPoint) -> None:
        turn, step, run = self._trace.about(key)
        if turn is not None:
            menu = self.menu_for(turn, step, run, key)
            menu.aboutToHide.connect(menu.deleteLater)
            menu.popup(place)

    def _add_point(self, add: _Adder, point: ev.Breakpoint, what: str) -> None:
        text = self.tr("Break before {what} (F9)").format(what=what)
        action = add("breakHere", text, lambda: self._toggle(point), True)
        action.setCheckable(True)
        action.setChecked(point in self._status.breakpoints)

    # -- inside -------------------------------------------------------------------------------

    def _toggle(self, point: ev.Breakpoint) -> None:
        points = self._status.breakpoints
        without = tuple(one for one in points if one != point)
        after = without if point in points else (*points, point)
        self._do(self._core.set_breakpoints, after)

    def _fork(
        self, turn: Turn, steps: int, settings: ev.RunSettings | None = None, paused: bool = False
    ) -> None:
        conversation = self._bridge.state.id
        self._bridge.then(self._core.fork(conversation, turn.id, steps, settings, paused=paused))

    def _rerun(self, turn: Turn, steps: int | None) -> None:
        """With other settings: from a step, or from the message."""

        def run(settings: ev.RunSettings) -> None:
            if steps is None:
                self._do(self._core.regenerate, turn.id, settings)
            else:
                self._fork(turn, steps, settings)

        RerunDialog(self._window, turn.settings, self._core.settings.endpoints, run).open()

    def _edit_reasoning(self, step: Step) -> None:
        thought = "".join(p.text for p in step.parts if p.kind == "reasoning" and not p.discarded)
        self._edit(
            self.tr("Edit the reasoning"),
            thought if step.reasoning is None else step.reasoning,
            lambda text: self._do(self._core.edit_reasoning, step.span, text),
        )

    def _edit(
        self, title: str, text: str, save: Callable[[str], object], as_json: bool = False
    ) -> None:
        EditDialog(self._window, title, text, save, as_json).open()

    def _do(self, work: Callable[..., Future[Any]], *arguments: object) -> None:
        conversation = self._bridge.state.id
        if conversation:
            self._bridge.then(work(conversation, *arguments))


class _Adder:
    """Puts actions into a menu."""

    def __init__(self, menu: QMenu) -> None:
        self._menu = menu

    def __call__(self, name: str, text: str, work: Callable[[], object], enabled: bool) -> QAction:
        action = self._menu.addAction(text)
        action.setObjectName(name)
        action.setEnabled(enabled)
        action.triggered.connect(lambda _=False: work())
        return action
