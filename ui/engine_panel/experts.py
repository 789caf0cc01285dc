"""Where the routed experts are and how often each is chosen: two maps over the same cells."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QFont, QHideEvent, QShowEvent
from PySide6.QtWidgets import QButtonGroup, QLabel, QToolButton, QToolTip, QVBoxLayout, QWidget

from app.engines.experts import Cell, ExpertMap
from app.engines.view import EngineView
from engine.protocol import ExpertReport, HeatWindow, Tier
from ui import words
from ui.chat.row_base import button, label, line
from ui.engine_panel.cell_grid import CellGrid, Place
from ui.engine_panel.colours import heat_table, tier_table
from ui.engine_panel.legends import HeatLegend, TierRows
from ui.theme import current

_POLL_MS = 500
_IN: dict[Tier | None, str] = {
    "gpu": ", on the GPU",
    "ram": ", in RAM",
    "mapped": ", on disk",
    None: "",
}


class ExpertsView(QWidget):
    """Signals: ``wanted(window)`` when a newer report is needed."""

    wanted = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._map = ExpertMap()
        self._window: HeatWindow = "start"
        self._view, self._elsewhere = EngineView(), ""
        self._report: ExpertReport | None = None
        self._place: Place | None = None
        self._asked = False
        """A report is on its way."""
        self._timer = QTimer(self)
        self._timer.setInterval(_POLL_MS)
        self._timer.timeout.connect(self._poll)
        self.empty = label("muted")
        self.empty.setObjectName("expertsEmpty")
        self.empty.setWordWrap(True)
        self.placement = CellGrid(lambda: tier_table(current()))
        self.placement.setObjectName("placementMap")
        self.placement.setAccessibleName(self.tr("Where the experts are"))
        self.heat = CellGrid(lambda: heat_table(current()))
        self.heat.setObjectName("expertHeat")
        self.heat.setAccessibleName(self.tr("How often each expert is chosen"))
        self.tiers = TierRows()
        self.legend = HeatLegend()
        self._read_ahead = label("faint")
        self._read_ahead.setWordWrap(True)
        self._read_ahead.setObjectName("readAhead")
        self._covered = label("faint")
        self._covered.setObjectName("heatCovered")
        self._covered.setWordWrap(True)
        self.readout = label("muted")
        self.readout.setObjectName("expertReadout")
        self.readout.setWordWrap(True)
        self._lay_out()
        for grid in (self.placement, self.heat):
            grid.pointed.connect(partial(self._point, grid))
        self._show()

    # -- layout

    def _lay_out(self) -> None:
        self._placed, self._used = QWidget(), QWidget()
        placed = _column(self._placed)
        placed.addWidget(_heading(self.tr("Where the experts are")))
        placed.addWidget(self.tiers)
        placed.addWidget(self._read_ahead)
        placed.addWidget(self.placement)
        used = _column(self._used)
        self._choices = QButtonGroup(self)
        start = self._choice(
            "start", self.tr("Since start"), self.tr("All since the model was loaded")
        )
        minute = self._choice("minute", self.tr("Last minute"), self.tr("Only the last minute"))
        start.setChecked(True)
        self._reset = button(
            self.tr("Reset"), "heatReset", self.tr("Count from now; the engine counts on"), "quiet"
        )
        self._reset.clicked.connect(self._count_anew)
        used.addWidget(_heading(self.tr("How often each is chosen")))
        used.addLayout(line(start, minute, None, self._reset, spacing=4))
        used.addWidget(self._covered)
        used.addWidget(self.heat)
        used.addWidget(self.legend)
        column = _column(self)
        column.setSpacing(16)
        for widget in (self.empty, self._placed, self._used, self.readout):
            column.addWidget(widget)

    def _choice(self, window: HeatWindow, text: str, tip: str) -> QToolButton:
        made = QToolButton()
        made.setObjectName(f"heat{window.capitalize()}")
        made.setText(text)
        made.setToolTip(tip)
        made.setAccessibleName(f"{text}. {tip}")
        made.setCheckable(True)
        made.clicked.connect(lambda: self._choose(window))
        self._choices.addButton(made)
        return made

    # -- what is shown

    def set_view(self, view: EngineView, elsewhere: str = "") -> None:
        """The engine's state. ``elsewhere`` names the endpoint that answers instead of it."""
        self._view, self._elsewhere = view, elsewhere
        if view.phase != "ready":
            self._report = None
        self._follow()
        self._show()

    def set_report(self, report: ExpertReport | None) -> None:
        """The answer to ``wanted``; None: there was none."""
        self._asked = False
        if report is None or report.window != self._window or self._view.phase != "ready":
            return
        self._report = report
        self._map.take(report)
        self._show()

    def refresh_colours(self) -> None:
        """Take the theme's colours and fonts."""
        for widget in (self.placement, self.heat, self.legend, self.tiers):
            widget.refresh_colours()
        for caption in (self._read_ahead, self._covered):
            caption.setFont(current().small_font)

    def _show(self) -> None:
        known = self._report is not None and self._map.rows > 0
        self.empty.setText(self._why_empty())
        self.empty.setVisible(not known and bool(self.empty.text()))
        for widget in (self._placed, self._used, self.readout):
            widget.setVisible(known)
        if not known:
            return
        shown = self._map
        status = self._view.status
        self.tiers.set_tiers(status.tiers if status else ())
        rate = status.prediction_hit_rate if status else None
        self._read_ahead.setVisible(rate is not None)
        if rate is not None:
            text = self.tr("{rate:.0%} of the experts needed from disk had been read ahead")
            self._read_ahead.setText(text.format(rate=rate))
        self._placed.setVisible(self._report is not None and self._report.placement is not None)
        self.placement.set_cells(shown.layers, shown.experts, shown.tiers)
        self.heat.set_cells(shown.layers, shown.experts, shown.levels())
        self.legend.set_range(shown.even, shown.peak)
        self.legend.setVisible(shown.peak > 0)
        self._covered.setText(self._covered_text())
        self._reset.setVisible(self._window == "start")
        self._reset.setEnabled(shown.tokens > 0)
        self._read_out()

    def _why_empty(self) -> str:
        phase = self._view.phase
        if phase == "ready":
            if self._report is None:
                return ""
            return self.tr("This model has no routed experts; every token takes the same way.")
        if phase in ("starting", "loading"):
            return self.tr("The experts are shown when the model is loaded.")
        if self._elsewhere:
            return self.tr(
                "Answers come from {name}. Where its experts are cannot be seen from here."
            ).format(name=self._elsewhere)
        return self.tr(
            "No model is loaded. When one is, this shows where its experts are and how often each "
            "is chosen."
        )

    def _covered_text(self) -> str:
        shown = self._map
        if not shown.tokens and self._window == "minute":
            return self.tr("No token in the last minute")
        if not shown.tokens:
            return self.tr("No token yet: the map fills while the model reads and writes")
        tokens = self.tr("{n:,} tokens").format(n=shown.tokens)
        if self._window == "minute":
            return self.tr("{tokens} in the last minute").format(tokens=tokens)
        if shown.reset_at:
            clock = time.strftime("%H:%M", time.localtime(shown.reset_at))
            return self.tr("{tokens} since {clock}").format(tokens=tokens, clock=clock)
        return self.tr("{tokens} in {time}").format(tokens=tokens, time=words.span(shown.seconds))

    # -- pointing

    def _point(self, source: CellGrid, place: Place | None) -> None:
        """Both maps mark the same expert; its words are at the end and beside the cell."""
        self._place = place
        for grid in (self.placement, self.heat):
            grid.mark(place)
        self._read_out()
        if place is None:
            QToolTip.hideText()
            return
        cell = source.mapToGlobal(source.fit().rect_of(place).bottomRight())
        QToolTip.showText(cell, self.readout.text(), source)

    def _read_out(self) -> None:
        if self._place is not None and self._place[0] < self._map.rows:
            text = _sentence(self._map.cell(*self._place), self.tr)
        elif self.heat.fit().turned:
            text = self.tr(
                "Columns are layers, rows are experts. Point at a cell, or tab to a map "
                "and use the arrow keys."
            )
        else:
            text = self.tr(
                "Rows are layers, columns are experts. Point at a cell, or tab to a map "
                "and use the arrow keys."
            )
        self.readout.setText(text)
        for grid in (self.placement, self.heat):
            grid.setAccessibleDescription(text)

    # -- asking

    def _choose(self, window: HeatWindow) -> None:
        self._window = window
        self._asked = False
        self._ask()

    def _count_anew(self) -> None:
        self._map.reset()
        self._show()

    def _ask(self) -> None:
        if not self._asked:
            self._asked = True
            self.wanted.emit(self._window)

    def _poll(self) -> None:
        """Only what can have changed is asked for."""
        status, report = self._view.status, self._report
        if status is None or self._asked:
            return
        told = report.heat.tokens if report and report.heat else -1
        if status.running or self._window == "minute" or told != status.routed_tokens:
            self._ask()

    def _follow(self) -> None:
        """Ask twice a second while somebody looks."""
        wanted = self._view.phase == "ready" and self.isVisible()
        if not wanted:
            self._timer.stop()
            self._asked = False
        elif not self._timer.isActive():
            self._timer.start()
            self._poll()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._follow()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._follow()


def _sentence(cell: Cell, tr: Callable[[str], str]) -> str:
    """``Layer 12, expert 301: 1,204 hits, 0.8 % of this layer's, in RAM``"""
    hits = tr("never chosen")
    if cell.hits:
        hits = tr("{n:,} hits, {share:.1f} % of this layer's")
    text = tr("Layer {layer}, expert {expert}: ") + hits + tr(_IN[cell.tier])
    return text.format(layer=cell.layer, expert=cell.expert, n=cell.hits, share=100 * cell.share)


def _column(of: QWidget) -> QVBoxLayout:
    column = QVBoxLayout(of)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(8)
    return column


def _heading(text: str) -> QLabel:
    made = label()
    made.setText(text)
    font = made.font()
    font.setWeight(QFont.Weight.DemiBold)
    made.setFont(font)
    return made
