"""The engine as it is now: state, speed, memory, experts, log; restart and stop."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFormLayout,
    QPlainTextEdit,
    QProgressBar,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from app.engines.view import EngineView
from engine.protocol import EngineStatus, ExpertReport
from ui import words
from ui.chat.row_base import button, label, line, set_label_role
from ui.engine_panel.experts import ExpertsView
from ui.theme import Theme
from ui.widgets.bars import Meter
from ui.widgets.scrolled import scrolled

PHASES = {
    "off": ("Off", "muted"),
    "starting": ("Starting…", "warn"),
    "loading": ("Loading…", "warn"),
    "ready": ("Ready", "good"),
    "lost": ("Stopped unexpectedly", "bad"),
    "failed": ("Failed", "bad"),
}
_ROWS = ("State", "Model", "Experts", "Context")


class EnginePanel(QWidget):
    """Signals: ``restart_asked``, ``stop_asked``, ``model_asked``; ``experts_wanted(window)``,
    which is to be answered by :meth:`set_experts`.
    """

    restart_asked = Signal()
    stop_asked = Signal()
    model_asked = Signal()
    experts_wanted = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("enginePanel")
        self.setMinimumWidth(320)
        self._view, self._elsewhere = EngineView(), ""
        self._values = {name: label() for name in _ROWS}
        self._progress = QProgressBar()
        self._progress.setAccessibleName(self.tr("Loading"))
        self._progress.setRange(0, 1000)
        self._trouble = label("bad")
        self._trouble.setObjectName("engineTrouble")
        self._trouble.setWordWrap(True)
        self.decode = Meter("engineDecode", self.tr("Writing (decode)"))
        self.prefill = Meter("enginePrefill", self.tr("Reading (prefill)"))
        self.ram = Meter("engineMemory", self.tr("Memory"))
        self.gpu = Meter("engineGpu", self.tr("GPU memory"))
        self.cache = Meter("engineCache", self.tr("Context cache"))
        self.meters = (self.decode, self.prefill, self.ram, self.gpu, self.cache)
        self.experts = ExpertsView()
        self.experts.wanted.connect(self.experts_wanted)
        self._log = QPlainTextEdit()
        self._log.setObjectName("engineLog")
        self._log.setAccessibleName(self.tr("Engine log"))
        self._log.setReadOnly(True)
        self._log.setMaximumBlockCount(2000)
        self._log.setPlaceholderText(self.tr("The log is empty."))
        self.tabs = QTabWidget()
        self.tabs.setObjectName("engineTabs")
        self.tabs.addTab(self._overview(), self.tr("Now"))
        self.tabs.addTab(_padded(self._log), self.tr("Log"))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.tabs)
        self.set_view(EngineView())

    def _overview(self) -> QScrollArea:
        form = QFormLayout()
        form.setHorizontalSpacing(16)
        form.setVerticalSpacing(4)
        for name, value in self._values.items():
            value.setObjectName(f"engine{name.replace(' ', '')}")
            value.setWordWrap(True)
            caption = label("muted")
            caption.setText(self.tr(name))
            caption.setAlignment(Qt.AlignmentFlag.AlignTop)  # beside a value of several lines
            value.setAlignment(Qt.AlignmentFlag.AlignTop)
            form.addRow(caption, value)
        restart = button(
            self.tr("Restart"),
            "restartEnginePanel",
            self.tr("Start the engine again (Ctrl+Shift+R)"),
        )
        stop = button(self.tr("Stop"), "stopEngine", self.tr("End the engine process"))
        model = button(
            self.tr("Model…"),
            "openModelPanel",
            self.tr("Which one is loaded, and how (Ctrl+Shift+O)"),
        )
        model.clicked.connect(self.model_asked)
        restart.clicked.connect(self.restart_asked)
        stop.clicked.connect(self.stop_asked)
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(12, 12, 12, 12)
        column.setSpacing(12)
        column.addLayout(form)
        column.addWidget(self._progress)
        column.addWidget(self._trouble)
        column.addLayout(line(model, restart, stop, None))
        for meter in self.meters:
            column.addWidget(meter)
        column.addSpacing(4)
        column.addWidget(self.experts)
        column.addStretch(1)
        return scrolled("engineOverview", page)

    # -- what is shown

    def set_view(self, view: EngineView) -> None:
        """Show the engine's state."""
        self._view = view
        status = view.status
        text, role = PHASES[view.phase]
        text = self.tr(text)
        if view.restarts:
            text += self.tr(" (restarted {n} times)").format(n=view.restarts)
        if status is not None:
            text += self.tr(", process {pid}").format(pid=status.pid)
        self._values["State"].setText(text)
        set_label_role(self._values["State"], role)
        shown = self._facts(status) if status is not None and status.model else {}
        for name in _ROWS[1:]:
            self._values[name].setText(shown.get(name, "–"))
        progress = status.load_progress if status else None
        self._progress.setVisible(progress is not None)
        self._progress.setValue(int((progress or 0) * 1000))
        trouble = " ".join(t for t in (view.message, view.hint) if t)
        self._trouble.setVisible(bool(trouble) and view.phase in ("lost", "failed"))
        self._trouble.setText(trouble)
        self._show_meters(status)
        self.experts.set_view(view, self._elsewhere)

    def set_elsewhere(self, name: str) -> None:
        """The endpoint that answers instead of our engine; empty: our engine answers."""
        self._elsewhere = name
        self.experts.set_view(self._view, name)

    def set_experts(self, report: ExpertReport | None) -> None:
        """What ``experts_wanted`` asked for; None: the engine did not say."""
        self.experts.set_report(report)

    def show_log(self) -> None:
        """Turn to the log."""
        self.tabs.setCurrentIndex(1)

    def set_log(self, lines: tuple[str, ...]) -> None:
        """Show the last lines, keeping the place unless it was at the end."""
        text = "\n".join(lines)
        if text == self._log.toPlainText():
            return
        bar = self._log.verticalScrollBar()
        at_end, value = bar.value() >= bar.maximum() - 4, bar.value()
        self._log.setPlainText(text)
        bar.setValue(bar.maximum() if at_end else value)

    def set_theme(self, theme: Theme) -> None:
        """Fonts and colours."""
        self._log.setFont(theme.mono_font)
        for meter in self.meters:
            meter.refresh_colours()
        self.experts.refresh_colours()

    def _facts(self, status: EngineStatus) -> dict[str, str]:
        """What the rows say of a loaded model; what is not known is left out."""
        facts = {"Model": ", ".join(t for t in (status.model, status.dtype) if t)}
        if status.experts:
            threads = self.tr("{n} threads") if status.threads != 1 else self.tr("{n} thread")
            facts["Experts"] = f"{status.experts}, {threads.format(n=status.threads)}"
        if status.context_length:
            facts["Context"] = self.tr("{n:,} tokens").format(n=status.context_length)
        return facts

    # -- meters

    def _show_meters(self, status: EngineStatus | None) -> None:
        for meter in self.meters:
            meter.setVisible(status is not None)
        if status is None:
            return
        memory_bound = self.tr("the {bound} that reading the weights allows")
        compute_bound = self.tr("the {bound} that the processor's arithmetic allows")
        self._show_speed(
            self.decode, status.decode_tokens_per_s, status.bound_decode_tokens_per_s, memory_bound
        )
        self._show_speed(
            self.prefill,
            status.prefill_tokens_per_s,
            status.bound_prefill_tokens_per_s,
            compute_bound,
        )
        _show_memory(self.ram, status.resident_bytes, status.memory_total_bytes)
        _show_memory(self.gpu, status.gpu_bytes, status.gpu_total_bytes)
        self.ram.setVisible(status.resident_bytes > 0)
        self.gpu.setVisible(status.gpu_total_bytes > 0)
        self._show_cache(status)

    def _show_cache(self, status: EngineStatus) -> None:
        """How much of what was read is kept, and where."""
        self.cache.setVisible(status.cache_pages > 0)
        if not status.cache_pages:
            return
        share = status.cache_pages_used / status.cache_pages
        used, total = share * status.cache_bytes, status.cache_bytes
        kept = [self.tr("{n:,} tokens need not be read again").format(n=status.cached_tokens)]
        if status.spilled_pages:
            each = status.cache_bytes / status.cache_pages
            moved = words.size(status.spilled_pages * each)
            kept.append(self.tr("{size} moved to memory").format(size=moved))
        if status.snapshot_pages:
            stored = words.size(status.snapshot_bytes)
            kept.append(self.tr("{size} on disk for the next start").format(size=stored))
        note = "; ".join(kept)
        if status.snapshot_error:
            note = self.tr("{note}. Nothing more is written to disk: {why}").format(
                note=note, why=status.snapshot_error
            )
        self.cache.show_value(f"{words.size(used)} / {words.size(total)}", share, note)

    def _show_speed(self, meter: Meter, value: float, bound: float, against: str) -> None:
        against = against.format(bound=words.speed(bound))
        if not bound:
            meter.show_value(words.speed(value) if value else "–", None, "")
        elif not value:
            meter.show_value("–", 0.0, self.tr("up to {against}").format(against=against))
        else:
            note = self.tr("{share:.0%} of {against}").format(share=value / bound, against=against)
            if value > bound:
                note = self.tr(
                    "{note}. Replies share a reading, or other programs slowed the measurement."
                ).format(note=note)
            meter.show_value(words.speed(value), value / bound, note)


def _show_memory(meter: Meter, used: int, total: int) -> None:
    if not total:
        meter.show_value(words.size(used), None, "")
        return
    meter.show_value(f"{words.size(used)} / {words.size(total)}", used / total, "")


def _padded(widget: QWidget) -> QWidget:
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(12, 12, 12, 12)
    column.addWidget(widget)
    return page
