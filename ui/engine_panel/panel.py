"""The engine as it is now: state, model, speed, memory, log; restart and stop."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFormLayout, QPlainTextEdit, QProgressBar, QVBoxLayout, QWidget

from app.engines.view import EngineView
from ui.chat.row_base import button, label, line, set_label_role
from ui.theme import Theme

PHASES = {
    "off": ("Off", "muted"),
    "starting": ("Starting…", "warn"),
    "loading": ("Loading…", "warn"),
    "ready": ("Ready", "good"),
    "lost": ("Stopped unexpectedly", "bad"),
    "failed": ("Failed", "bad"),
}
_ROWS = (
    "State",
    "Model",
    "Numbers",
    "Experts",
    "Threads",
    "Context",
    "Memory",
    "Prefill",
    "Decode",
    "Kept tokens",
    "Process",
)


class EnginePanel(QWidget):
    """Signals: ``restart_asked``, ``stop_asked``."""

    restart_asked = Signal()
    stop_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("enginePanel")
        self.setMinimumWidth(320)
        form = QFormLayout()
        form.setHorizontalSpacing(16)
        form.setVerticalSpacing(4)
        self._values = {name: label() for name in _ROWS}
        for name, value in self._values.items():
            value.setObjectName(f"engine{name.replace(' ', '')}")
            value.setWordWrap(True)
            caption = label("muted")
            caption.setText(self.tr(name))
            form.addRow(caption, value)
        self._progress = QProgressBar()
        self._progress.setAccessibleName(self.tr("Loading"))
        self._progress.setRange(0, 1000)
        self._trouble = label("bad")
        self._trouble.setObjectName("engineTrouble")
        self._trouble.setWordWrap(True)
        restart = button(
            self.tr("Restart"),
            "restartEnginePanel",
            self.tr("Start the engine again (Ctrl+Shift+R)"),
        )
        stop = button(self.tr("Stop"), "stopEngine", self.tr("End the engine process"))
        restart.clicked.connect(self.restart_asked)
        stop.clicked.connect(self.stop_asked)
        self._log = QPlainTextEdit()
        self._log.setObjectName("engineLog")
        self._log.setAccessibleName(self.tr("Engine log"))
        self._log.setReadOnly(True)
        self._log.setMaximumBlockCount(2000)
        self._log.setPlaceholderText(self.tr("The log is empty."))
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 12, 12, 12)
        column.setSpacing(8)
        column.addLayout(form)
        column.addWidget(self._progress)
        column.addWidget(self._trouble)
        column.addLayout(line(restart, stop, None))
        column.addWidget(self._log, 1)
        self.set_view(EngineView())

    def set_view(self, view: EngineView) -> None:
        """Show the engine's state."""
        status = view.status
        text, role = PHASES[view.phase]
        if view.restarts:
            text += self.tr(" (restarted {n} times)").format(n=view.restarts)
        self._values["State"].setText(text)
        set_label_role(self._values["State"], role)
        shown = dict.fromkeys(_ROWS[1:], "–")
        if status is not None:
            shown |= {
                "Model": status.model or "–",
                "Numbers": status.dtype or "–",
                "Experts": status.experts or "–",
                "Threads": str(status.threads or "–"),
                "Context": f"{status.context_length:,} tokens" if status.context_length else "–",
                "Memory": f"{status.resident_bytes / 2**20:,.0f} MiB",
                "Prefill": _speed(status.prefill_tokens_per_s),
                "Decode": _speed(status.decode_tokens_per_s),
                "Kept tokens": f"{status.cached_tokens:,}",
                "Process": f"{status.pid}",
            }
        for name, value in shown.items():
            self._values[name].setText(value)
        progress = status.load_progress if status else None
        self._progress.setVisible(progress is not None)
        self._progress.setValue(int((progress or 0) * 1000))
        trouble = " ".join(t for t in (view.message, view.hint) if t)
        self._trouble.setVisible(bool(trouble) and view.phase in ("lost", "failed"))
        self._trouble.setText(trouble)

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
        """Fonts."""
        self._log.setFont(theme.mono_font)


def _speed(value: float) -> str:
    return f"{value:,.0f} tokens/s" if value else "–"
