"""What a machine allows at most for a model: the figures that speeds are shown beside.

Ceilings, not predictions: :func:`engine.placement.planner.plan` says what to expect.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.placement.footprint import Footprint
from engine.protocol import WeightForm


@dataclass(frozen=True, slots=True)
class Bounds:
    """Tokens per second; 0: not known."""

    decode: float = 0.0
    prefill: float = 0.0


def bounds(
    footprint: Footprint, dense_form: WeightForm, bytes_per_s: float, int8_per_s: float
) -> Bounds:
    """Decode: every weight that a token needs is read once from memory. Prefill: every
    multiply-add of a token is an INT8 dot product, two operations each, at the peak.

    ``dense_form``: how what is not a routed expert is held. The caches of a processor can beat
    the first for a small model.
    """
    return Bounds(
        decode=bytes_per_s / footprint.decode_bytes(dense_form),
        # The head is needed for a prompt's last token only.
        prefill=int8_per_s
        / (footprint.dense_flops - footprint.head.flops + footprint.routed_flops),
    )
