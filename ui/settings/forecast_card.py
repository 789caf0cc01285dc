"""What the planner foretells of a model on this machine."""

from __future__ import annotations

from PySide6.QtWidgets import QFormLayout, QFrame, QLabel, QProgressBar, QVBoxLayout, QWidget

from engine.protocol import PlanReport, TierPlan, Verdict
from ui.chat.header_button import HeaderButton
from ui.chat.row_base import label, set_label_role
from ui.theme import current
from ui.widgets.bars import Meter
from ui.words import memory, sentence, speed, took

_VERDICTS: dict[Verdict, tuple[str, str]] = {
    "runs well": ("Runs well on this machine", "good"),
    "runs slowly": ("Runs slowly on this machine", "warn"),
    "does not fit": ("Does not fit on this machine", "bad"),
}


class ForecastCard(QFrame):
    """Busy, a report, or why there is none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("forecast")
        self.setProperty("role", "card")
        self._verdict = label()
        self._verdict.setObjectName("forecastVerdict")
        self._verdict.setWordWrap(True)
        self._note = label("faint")
        self._note.setObjectName("forecastNote")
        self._note.setWordWrap(True)
        self._busy = QProgressBar()
        self._busy.setRange(0, 0)
        self._busy.setFixedHeight(4)
        self._busy.setTextVisible(False)
        self._busy.setAccessibleName(self.tr("Looking ahead"))
        self._speeds = QFormLayout()
        self._speeds.setHorizontalSpacing(16)
        self._speeds.setVerticalSpacing(2)
        self._values: dict[str, QLabel] = {}
        for name, words in (
            ("writing", self.tr("Writing")),
            ("reading", self.tr("Reading")),
            ("first", self.tr("First word")),
            ("context", self.tr("Context")),
        ):
            caption, value = label("muted"), label()
            caption.setText(words)
            value.setObjectName(f"forecast_{name}")
            value.setWordWrap(True)
            self._values[name] = value
            self._speeds.addRow(caption, value)
        self.memory = Meter("forecastMemory", self.tr("Memory"))
        self.accelerator = Meter("forecastGpu", self.tr("Accelerator's memory"))
        self._header = HeaderButton("forecastWhy", lambda: self.show_why(self._why.isHidden()))
        self._header.title.setText(self.tr("Why"))
        self._why = label("muted")
        self._why.setObjectName("forecastReasons")
        self._why.setWordWrap(True)
        self._body = QWidget()
        body = QVBoxLayout(self._body)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(8)
        body.addLayout(self._speeds)
        body.addWidget(self.memory)
        body.addWidget(self.accelerator)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 10, 12, 10)
        column.setSpacing(8)
        column.addWidget(self._verdict)
        column.addWidget(self._busy)
        column.addWidget(self._note)
        column.addWidget(self._body)
        column.addWidget(self._header)
        column.addWidget(self._why)
        self.show_why(False)
        self.show_busy(first=True)

    # -- what is shown ------------------------------------------------------------------------

    def show_busy(self, *, first: bool) -> None:
        """It is being worked out; what was known before stays where it is not the ``first``."""
        self._busy.show()
        if first:
            self._say(self.tr("Measuring this machine…"), "muted", "")

    def show_report(self, report: PlanReport, *, disturbed: bool = False) -> None:
        """What the planner said. ``disturbed``: the engine was at work when it measured."""
        plan = report.placement
        words, role = _VERDICTS[plan.verdict]
        note = self.tr("The engine was at work while this machine was measured; it can do more.")
        self._say(self.tr(words), role, note if disturbed else "")
        self._body.setVisible(bool(plan.decode))
        if plan.decode:
            short, full = plan.decode[0], plan.decode[-1]
            text = speed(short.tokens_per_s)
            if full.tokens != short.tokens:
                text += self.tr(", {speed} after {n:,} tokens").format(
                    speed=speed(full.tokens_per_s), n=full.tokens
                )
            self._values["writing"].setText(text)
            self._values["reading"].setText(speed(plan.prefill[0].tokens_per_s))
            first = self.tr("after {time}, for a prompt of 512 tokens")
            self._values["first"].setText(first.format(time=took(plan.first_token_s)))
            self._values["context"].setText(
                self.tr("{n:,} tokens have room").format(n=plan.kv_tokens)
            )
        tiers = {tier.tier: tier for tier in plan.tiers}
        self._show_tier(self.memory, tiers.get("ram"), tiers.get("mapped"))
        self._show_tier(self.accelerator, tiers.get("gpu"), None)
        reasons = [f"• {why}" for why in plan.why]
        if report.helps:
            helps = (f"• {one}" for one in report.helps)
            reasons += ["", self.tr("What would help:"), *helps]
        if report.family:
            others = [one.name for one in report.family if one.verdict == "runs well"]
            if others:
                reasons += ["", self.tr("What runs well here: {m}.").format(m=", ".join(others))]
        self._why.setText("\n".join(reasons))
        self._header.show()
        self.show_why(not plan.decode or not self._why.isHidden())

    def show_error(self, message: str, hint: str) -> None:
        """Why there is no forecast."""
        self._say(sentence(message), "bad", sentence(hint))

    def show_why(self, opened: bool) -> None:
        """The planner's reasons."""
        self._why.setVisible(opened)
        self._header.show_open(opened)

    # -- inside -------------------------------------------------------------------------------

    def _say(self, text: str, role: str, note: str) -> None:
        self._busy.setVisible(role == "muted")
        self._verdict.setText(text)
        set_label_role(self._verdict, role)
        self._note.setFont(current().small_font)
        self._note.setText(note)
        self._note.setVisible(bool(note))
        self._body.hide()
        self._header.hide()
        if role in ("muted", "bad"):
            self._why.hide()

    def _show_tier(self, meter: Meter, tier: TierPlan | None, disk: TierPlan | None) -> None:
        meter.setVisible(tier is not None)
        if tier is None:
            return
        parts = sorted(tier.parts.items(), key=lambda part: -part[1])
        note = ", ".join(f"{name} {memory(count)}" for name, count in parts)
        if disk is not None and disk.used:
            note += self.tr("; {size} of experts stay on disk").format(size=memory(disk.used))
        value = self.tr("{used} of {usable}").format(
            used=memory(tier.used), usable=memory(tier.usable)
        )
        meter.show_value(value, tier.used / tier.usable if tier.usable else None, note)
        meter.refresh_colours()
