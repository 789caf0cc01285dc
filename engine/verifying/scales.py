"""Scales that are no numbers: one NaN in a file and every answer is noise."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

from torch import Tensor

from engine.experts.base import ExpertWeights
from engine.verifying.report import Check
from engine.verifying.sample import Source


def check_scales(source: Source, until: float, tell: Callable[[str], None]) -> Check:
    """Reads the scales of all experts, or of as many layers as there is time for, in random order.

    `until` is on the clock of time.monotonic. ``worst`` counts the values that are not finite.
    """
    layers = random.Random(0).sample(source.layers, len(source.layers))
    bad, seen = 0, 0
    where = ""
    for layer in layers:
        if seen and time.monotonic() > until:
            break
        tell(f"scales: layer {layer}, {seen} of {len(layers)} done")
        for expert, weights in enumerate(source.experts(layer)):
            for name, scale in _scales(weights):
                wrong = scale.numel() - int(scale.isfinite().sum())
                if wrong:
                    bad += wrong
                    where = where or f"layer {layer}, expert {expert}, {name}"
        seen += 1
    return Check(
        name="scales",
        passed=not bad,
        worst=bad,
        limit=0,
        where=where,
        covered=f"{seen} of {len(layers)} layers",
    )


def _scales(expert: ExpertWeights) -> Iterator[tuple[str, Tensor]]:
    """Of matrices without scales, the values themselves."""
    for name, matrix in (("gate", expert.gate), ("up", expert.up), ("down", expert.down)):
        yield name, matrix if isinstance(matrix, Tensor) else matrix.scale
