"""The engine's experts as a picture shows them: hits since a moment, and the tier of each."""

from __future__ import annotations

import math
import operator
import re
import time
from array import array
from dataclasses import dataclass

from app.errors import BackendError
from engine.protocol import ExpertHeat, ExpertReport, PlacementMap, Tier

TIERS: tuple[Tier, ...] = ("gpu", "ram", "mapped")
UNKNOWN = len(TIERS)
"""The tier's index where the engine does not say."""
_EVEN_AT, _LEAST_POWER = 0.45, 0.2
_LETTERS = {"G": 0, "R": 1, "M": 2}
_RUN = re.compile(r"(\d+)([GRM])")


@dataclass(frozen=True, slots=True)
class Cell:
    """One expert of one layer. ``share`` of the layer's hits, 0 to 1."""

    layer: int
    expert: int
    hits: int
    share: float
    tier: Tier | None


class ExpertMap:
    """What the last reports say; rows are layers with routed experts, columns are experts.

    ``reset`` sets a new zero for the counts since the start. Another load drops it.
    """

    def __init__(self) -> None:
        self.layers: tuple[int, ...] = ()
        self.experts = 0
        self.counts = array("I")
        """[rows x experts], row by row, less what was there at the last reset."""
        self.peak = 0
        """The most hits that any expert has."""
        self.tiers = b""
        """[rows x experts] indices into ``TIERS``, or ``UNKNOWN``."""
        self.tokens = 0
        self.seconds = 0.0
        self.reset_at = 0.0
        """Unix time of the last reset; 0: none."""
        self._top_k = 0
        self._placement: PlacementMap | None = None
        self._began = 0.0
        self._shown: ExpertHeat | None = None
        self._zero: ExpertHeat | None = None

    @property
    def rows(self) -> int:
        return len(self.layers)

    @property
    def even(self) -> float:
        """The hits each would have if all were chosen equally often."""
        return self.tokens * self._top_k / self.experts if self.experts else 0.0

    def take(self, report: ExpertReport) -> None:
        """Show a report. It was checked by :func:`check`."""
        if report.began != self._began:
            self._began, self._zero, self.reset_at = report.began, None, 0.0
        shape = report.heat or report.placement
        self.layers = shape.layers if shape else ()
        self.experts = shape.experts if shape else 0
        if report.placement is None or report.placement != self._placement:
            self.tiers = _tiers(report.placement, self.rows * self.experts)
            self._placement = report.placement
        # The last minute has no zero of its own: it forgets by itself.
        zero = self._zero if report.window == "start" else None
        heat = report.heat
        self._shown = heat if report.window == "start" else None
        self.counts = array("I", heat.counts) if heat else array("I", bytes(4 * len(self.tiers)))
        self.tokens = heat.tokens if heat else 0
        self.seconds = heat.seconds if heat else 0.0
        self._top_k = heat.top_k if heat else 0
        if zero is not None:
            self.counts = array("I", map(operator.sub, self.counts, array("I", zero.counts)))
            self.tokens -= zero.tokens
            self.seconds = max(self.seconds - zero.seconds, 0.0)
        self.peak = max(self.counts, default=0)

    def reset(self) -> None:
        """Count from here. Without counts since the start on show, nothing happens."""
        heat = self._shown
        if heat is None:
            return
        self._zero, self.reset_at = heat, time.time()
        self.counts = array("I", bytes(len(heat.counts)))
        self.peak, self.tokens, self.seconds = 0, 0, 0.0

    def levels(self) -> bytes:
        """[rows x experts]: 0 for never, else 1 to 255; see :func:`level_of`."""
        # Many experts share few numbers of hits.
        level = {hits: level_of(hits, self.even, self.peak) for hits in set(self.counts)}
        return bytes(map(level.__getitem__, self.counts))

    def cell(self, row: int, expert: int) -> Cell:
        """Raises IndexError outside."""
        at = row * self.experts + expert
        hits, total = self.counts[at], self.tokens * self._top_k
        tier = self.tiers[at]
        return Cell(
            self.layers[row],
            expert,
            hits,
            hits / total if total else 0.0,
            TIERS[tier] if tier < UNKNOWN else None,
        )


def level_of(hits: float, even: float, peak: int) -> int:
    """A power of the share of the most hits; 0 for never, else 1 to 255.

    The power puts an even share near the middle. Hits fall off steeply from the favourites, and
    on an even scale all the others would look the same.
    """
    if not hits or not peak:
        return 0
    share = even / peak
    power = math.log(_EVEN_AT) / math.log(share) if 0 < share < _EVEN_AT else 1.0
    return 1 + int((hits / peak) ** max(power, _LEAST_POWER) * 254)


def check(report: ExpertReport) -> ExpertReport:
    """Raises BackendError ``bad_reply`` when its sizes do not agree."""
    heat, placement = report.heat, report.placement
    agree = heat is None or len(heat.counts) == 4 * len(heat.layers) * heat.experts
    if placement is not None:
        lengths = {sum(int(n) for n, _ in _RUN.findall(row)) for row in placement.rows}
        agree = agree and len(placement.rows) == len(placement.layers)
        agree = agree and lengths <= {placement.experts}
    if heat is not None and placement is not None:
        agree = agree and (heat.layers, heat.experts) == (placement.layers, placement.experts)
    if not agree:
        raise BackendError("bad_reply", "the engine's map of experts has parts that do not fit")
    return report


def _tiers(placement: PlacementMap | None, cells: int) -> bytes:
    if placement is None:
        return bytes([UNKNOWN]) * cells
    runs = (run for row in placement.rows for run in _RUN.findall(row))
    return b"".join(bytes([_LETTERS[letter]]) * int(n) for n, letter in runs)
