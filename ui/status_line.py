"""The line below the window: engine, model, speed, how full the context is, step and time."""

from __future__ import annotations

import time

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QProgressBar, QStatusBar, QWidget

from app.engines.view import EngineView
from app.state import ConversationState, ModelCall
from ui import words
from ui.chat.row_base import label, set_label_role
from ui.engine_panel.panel import PHASES

_TICK_MS = 500


class StatusLine(QStatusBar):
    """Shows what it is given; counts seconds by itself while a run goes on."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizeGripEnabled(False)
        self._engine, self._model = label("muted"), label()
        self._speed, self._step, self._elapsed = label("muted"), label("muted"), label("muted")
        self._engine.setObjectName("statusEngine")
        self._speed.setObjectName("statusSpeed")
        self._step.setObjectName("statusStep")
        self._context = QProgressBar()
        self._context.setObjectName("statusContext")
        self._context.setAccessibleName(self.tr("Context used"))
        self._context.setTextVisible(False)
        self._context.setFixedSize(72, 8)
        self._context_text = label("muted")
        self._context_text.setObjectName("statusContextText")
        self.addWidget(self._engine)
        self.addWidget(self._model)
        right = (self._step, self._elapsed, self._speed, self._context, self._context_text)
        for widget in right:
            self.addPermanentWidget(widget)
        self.setContentsMargins(12, 0, 12, 0)
        self._view = EngineView()
        self._elsewhere = ""
        self._state = ConversationState()
        self._timer = QTimer(self)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._show_elapsed)
        self.set_engine(self._view)
        self.set_state(self._state)

    def set_elsewhere(self, name: str) -> None:
        """Another endpoint answers new runs; empty: our engine does."""
        self._elsewhere = name
        self.set_engine(self._view)

    def set_engine(self, view: EngineView) -> None:
        """The dot and the model's name."""
        self._view = view
        text, role = PHASES[view.phase]
        tip = " ".join(t for t in (view.message, view.hint) if t)
        model = view.status.model or "" if view.status else ""
        if self._elsewhere:
            end = Qt.TextElideMode.ElideRight
            text, role, model = (
                self.fontMetrics().elidedText(self._elsewhere, end, 200),
                "muted",
                "",
            )
            tip = self.tr("New runs are answered by {name}").format(name=self._elsewhere)
        self._engine.setText(f"● {self.tr(text)}")
        set_label_role(self._engine, role)
        self._engine.setToolTip(tip)
        self._model.setText(model)
        self._show_context()

    def set_state(self, state: ConversationState) -> None:
        """What the shown conversation is doing."""
        self._state = state
        path = state.path()
        turn = path[-1] if path else None
        step = turn.steps[-1] if turn and turn.steps else None
        text = self.tr("step {n}").format(n=step.index + 1) if step and state.running else ""
        waits = turn is not None and any(one.away for one in (turn, *turn.lanes))
        waiting = self.tr("waiting for the endpoint") if waits else ""
        self._step.setText(" · ".join(filter(None, (text, waiting))))
        set_label_role(self._step, "warn" if waits else "muted")
        self._speed.setText(self._speed_text())
        self._show_context()
        self._show_elapsed()
        if state.running != self._timer.isActive():
            self._timer.start() if state.running else self._timer.stop()

    def _last_call(self) -> ModelCall | None:
        """Of a turn in lanes, the call of theirs that takes most of the context."""
        for turn in reversed(self._state.path()):
            called = [c for lane in turn.lanes for s in lane.steps[-1:] if (c := s.call)]
            if called and not turn.steps:
                return max(called, key=lambda call: call.usage.total_tokens or call.prompt_tokens)
            for step in reversed(turn.steps):
                if step.call is not None and (step.call.prompt_tokens or step.call.ended):
                    return step.call
        return None

    def _speed_text(self) -> str:
        call = self._last_call()
        if call is None:
            return ""
        if not call.ended and not call.first_part:
            if call.prefill_total:
                done, total = call.prefill_done, call.prefill_total
                return self.tr("reading {done:,} of {total:,}").format(done=done, total=total)
            return ""
        speed = call.timings.decode_tokens_per_s
        if not call.ended and self._view.status is not None:
            speed = self._view.status.decode_tokens_per_s
        return words.speed(speed) if speed else ""

    def _show_context(self) -> None:
        call, status = self._last_call(), self._view.status
        length = status.context_length if status else 0
        used = (call.usage.total_tokens or call.prompt_tokens) if call else 0
        self._context.setVisible(bool(length))
        self._context_text.setVisible(bool(length))
        if length:
            self._context.setRange(0, length)
            self._context.setValue(min(used, length))
            self._context_text.setText(f"{used:,} / {length:,}")
            tip = self.tr("Context: {used:,} of {length:,} tokens").format(used=used, length=length)
            self._context.setToolTip(tip)
            self._context_text.setToolTip(tip)

    def _show_elapsed(self) -> None:
        path = self._state.path()
        if not path or not self._state.running:
            self._elapsed.setText("")
            return
        seconds = int(max(time.time() - path[-1].began, 0))
        hours, minutes, seconds = seconds // 3600, seconds // 60 % 60, seconds % 60
        clock = f"{minutes}:{seconds:02d}"
        self._elapsed.setText(f"{hours}:{clock:0>5}" if hours else clock)
