"""What the maps' colours mean: a row for each tier, and the ramp of hits."""

from __future__ import annotations

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from app.engines.experts import TIERS, level_of
from engine.protocol import Tier, TierUse
from ui.chat.row_base import label
from ui.engine_panel.colours import heat_table, tier_colour
from ui.theme import current
from ui.words import size

TIER_NAMES: dict[Tier, str] = {"gpu": "GPU", "ram": "RAM", "mapped": "Disk"}
_SWATCH = 10
_RAMP_WIDTH = 260


class Swatch(QWidget):
    """A square of a tier's colour."""

    def __init__(self, tier: Tier, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tier = tier
        self.setFixedSize(_SWATCH, _SWATCH)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), tier_colour(current(), self._tier))
        painter.end()


class TierRows(QWidget):
    """A row a tier that holds experts: how many, how big, and its share of the hits."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(3)
        self._grid.setColumnStretch(5, 1)
        self._heads = [label("faint") for _ in range(3)]
        titles = (self.tr("experts"), self.tr("size"), self.tr("hits"))
        for column, (head, title) in enumerate(zip(self._heads, titles, strict=True)):
            head.setText(title)
            self._grid.addWidget(head, 0, column + 2, Qt.AlignmentFlag.AlignRight)
        self._rows: dict[Tier, tuple[QWidget, list[QLabel]]] = {}
        for row, tier in enumerate(TIERS, start=1):
            swatch = Swatch(tier)
            cells = [label() for _ in range(4)]
            self._grid.addWidget(swatch, row, 0, Qt.AlignmentFlag.AlignVCenter)
            for column, cell in enumerate(cells):
                side = Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft
                self._grid.addWidget(cell, row, column + 1, side)
            self._rows[tier] = (swatch, cells)

    def set_tiers(self, tiers: tuple[TierUse, ...]) -> None:
        """Show those that hold any experts."""
        held = {use.tier: use for use in tiers if use.experts}
        hits = sum(use.hits for use in held.values())
        for tier, (swatch, cells) in self._rows.items():
            use = held.get(tier)
            for widget in (swatch, *cells):
                widget.setVisible(use is not None)
            if use is None:
                continue
            share = f"{use.hits / hits:.1%}" if hits else "–"
            texts = (self.tr(TIER_NAMES[tier]), f"{use.experts:,}", size(use.bytes), share)
            for cell, text in zip(cells, texts, strict=True):
                cell.setText(text)
        self.setAccessibleName("; ".join(self._said(tier) for tier in held))
        self.setVisible(bool(held))

    def refresh_colours(self) -> None:
        """Take the theme's colours and font."""
        for head in self._heads:
            head.setFont(current().small_font)
        self.update()

    def _said(self, tier: Tier) -> str:
        name, experts, held, share = (cell.text() for cell in self._rows[tier][1])
        return self.tr("{name}: {experts} experts, {size}, {share} of the hits").format(
            name=name, experts=experts, size=held, share=share
        )


class HeatLegend(QWidget):
    """The ramp from never to the most hits, with a tick at an even share."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._even, self._peak = 0.0, 0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(self.tr("Colours of the hits"))

    def set_range(self, even: float, peak: int) -> None:
        """``even``: the hits each would have if all were chosen equally often."""
        if (even, peak) != (self._even, self._peak):
            self._even, self._peak = even, peak
            self.update()
            self.setAccessibleDescription(
                self.tr("never; even share {even:,.1f}; most {peak:,}").format(even=even, peak=peak)
            )

    def refresh_colours(self) -> None:
        """Take the theme's colours and font."""
        self.setFont(current().small_font)
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(200, _SWATCH + 6 + self.fontMetrics().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        theme, painter = current(), QPainter(self)
        table, metrics = heat_table(theme), painter.fontMetrics()
        never = self.tr("never")
        painter.setPen(QColor(theme.border))
        painter.setBrush(QColor.fromRgba(table[0]))
        painter.drawRect(0, 0, _SWATCH, _SWATCH)
        left = max(metrics.horizontalAdvance(never), _SWATCH) + 14
        bar = QRect(left, 0, min(self.width() - left - 1, _RAMP_WIDTH), _SWATCH + 1)
        for x in range(bar.width()):
            colour = table[1 + x * 254 // max(bar.width() - 1, 1)]
            painter.fillRect(bar.left() + x, 0, 1, bar.height(), QColor.fromRgba(colour))
        base = bar.bottom() + 4 + metrics.ascent()
        painter.setPen(QColor(theme.muted))
        painter.drawText(0, base, never)
        most = self.tr("{n:,} hits").format(n=self._peak)
        most_left = bar.right() - metrics.horizontalAdvance(most)
        painter.drawText(most_left, base, most)
        if self._peak:
            self._paint_even(painter, bar, most_left, base)
        painter.end()

    def _paint_even(self, painter: QPainter, bar: QRect, most_left: int, base: int) -> None:
        at = bar.left() + level_of(self._even, self._even, self._peak) * bar.width() // 256
        painter.fillRect(at, bar.top(), 1, bar.height() + 3, QColor(current().text))
        text = self.tr("even share")
        wide = painter.fontMetrics().horizontalAdvance(text)
        left = max(min(at - wide // 2, most_left - 10 - wide), bar.left())
        if left + wide + 10 <= most_left and left <= at:
            painter.drawText(left, base, text)
