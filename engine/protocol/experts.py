"""Where experts are, and how often each was chosen."""

from __future__ import annotations

from typing import Literal

import msgspec

Tier = Literal["gpu", "ram", "mapped"]
"""Where an expert is: on the accelerator, held in memory, or mapped from its file."""
HeatWindow = Literal["start", "minute"]


class ExpertHeat(msgspec.Struct, frozen=True):
    """How often each routed expert was chosen. The counts add up to tokens x top_k x layers."""

    layers: tuple[int, ...]
    """The model's layer of each row."""
    experts: int
    top_k: int
    tokens: int
    seconds: float
    """The time that is covered."""
    counts: bytes
    """uint32, little-endian, row by row: [layers, experts]. Base64 on the wire."""


class PlacementMap(msgspec.Struct, frozen=True):
    """The tier of each routed expert."""

    layers: tuple[int, ...]
    """The model's layer of each row."""
    experts: int
    rows: tuple[str, ...]
    """Run-length coded in the order of the experts, e.g. ``12G300R72M``; G GPU, R RAM, M mapped."""


class ExpertReport(msgspec.Struct, frozen=True):
    """``GET /engine/experts?window=start`` (or ``minute``). Parts are None without a model."""

    window: HeatWindow = "start"
    began: float = 0.0
    """Unix time at which counting began; another value means another load."""
    heat: ExpertHeat | None = None
    placement: PlacementMap | None = None


class RequestTrace(msgspec.Struct, frozen=True):
    """``GET /engine/trace/{id}``: the experts of one request; the last few requests are kept."""

    id: str
    running: bool
    heat: ExpertHeat
