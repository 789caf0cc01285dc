"""Colours of the maps: one ramp for hits, one colour a tier; both for light and dark.

The ramp's lightness only falls (light theme) or only rises (dark theme), so it reads without
telling hues apart; so do the tiers, which also differ in lightness from each other.
"""

from __future__ import annotations

from PySide6.QtGui import QColor

from app.engines.experts import TIERS
from engine.protocol import Tier
from ui.theme import Theme

_LIGHT_RAMP = ("#dbe8e4", "#9fcac6", "#55a3b5", "#2f74a8", "#3a4796", "#2a1f63")
_DARK_RAMP = ("#2b3350", "#3a4f93", "#3f7fb5", "#4fb0b4", "#96d6a8", "#f4f3b4")
_LIGHT_TIERS = ("#3d56b2", "#4fa79b", "#d9c08a", "#c9c9c6")
_DARK_TIERS = ("#a9b9f8", "#3f9c90", "#75674a", "#4a4d57")
_LIGHT_NEVER, _DARK_NEVER = "#f3f3f0", "#212329"


def heat_table(theme: Theme) -> list[int]:
    """256 colours as 0xAARRGGBB: 0 never, 1 to 255 the ramp."""
    stops = [QColor(c) for c in (_DARK_RAMP if theme.dark else _LIGHT_RAMP)]
    never = QColor(_DARK_NEVER if theme.dark else _LIGHT_NEVER)
    return [never.rgba(), *(_between(stops, i / 254) for i in range(255))]


def tier_table(theme: Theme) -> list[int]:
    """A colour for each of ``TIERS``, and the last for a tier that is not known."""
    return [QColor(c).rgba() for c in (_DARK_TIERS if theme.dark else _LIGHT_TIERS)]


def tier_colour(theme: Theme, tier: Tier) -> QColor:
    """A tier's colour in maps and legends."""
    return QColor.fromRgba(tier_table(theme)[TIERS.index(tier)])


def _between(stops: list[QColor], share: float) -> int:
    at = share * (len(stops) - 1)
    low = min(int(at), len(stops) - 2)
    part = at - low
    a, b = stops[low], stops[low + 1]
    return QColor(
        *(
            round(x + (y - x) * part)
            for x, y in zip(a.getRgb()[:3], b.getRgb()[:3], strict=True)  # type: ignore[index]
        )
    ).rgba()
