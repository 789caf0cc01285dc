"""What a run was asked to measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engine.bench.shapes import K2_LAYER, LayerShape
from engine.experts.native import Mode

DenseForm = Literal["auto", "published", "int8", "int4"]


@dataclass(frozen=True, slots=True)
class Peers:
    """Where other engines are found; None leaves them out."""

    kt_kernel: Path | None = None
    """A Python that has kt-kernel."""
    llama_bench: Path | None = None
    gguf: Path | None = None
    """A GGUF of the same shape as the measured model."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """How long, how many, how often in the bench of contexts; the names of figures say the same."""

    depth: int = 65_536
    """Of what is appended to and of what is kept over a restart."""
    steps: int = 300
    """Of the agent's run."""
    prefix: int = 8_192
    """Shared by the trajectories of heavy mode."""
    long: int = 100_000
    """Read while a short chat goes on."""
    mixed_seconds: float = 40.0
    """Of that, what is watched."""
    clients: int = 64
    minutes: float = 1.0
    """Of the soak."""
    lengths: tuple[int, ...] = (1024, 8192, 65_536, 262_144)
    """Of haystacks; the model's window as the last has more asked of it."""


@dataclass(frozen=True, slots=True)
class Options:
    """``seconds`` is what one comparison may take; ``tell`` hears what is being done."""

    threads: tuple[int, ...]
    isas: tuple[str, ...]
    mode: Mode = "fast"
    shape: LayerShape = K2_LAYER
    experts: int = 88
    seconds: float = 8.0
    turn: float = 0.25
    """Seconds of one turn: many tokens, short beside the machine's slower moods."""
    ceiling_mebibytes: int = 1024
    prompt: int = 512
    model: Path | None = None
    dense: DenseForm = "auto"
    """Of a whole model: how everything but the routed experts is held."""
    sparse: Path | None = None
    """A sparse folder of the full shape; None has one made."""
    sparse_shape: str = "k2-thinking"
    schemas: Path | None = None
    """Of grammar: a folder of others' JSON Schemas; None takes our own."""
    calls: int = 2000
    """Of grammar: to be sampled from each model."""
    only: tuple[str, ...] = ()
    """Names of figures; none means all."""
    contexts: Contexts = field(default_factory=Contexts)
    peers: Peers = field(default_factory=Peers)
    tell: Callable[[str], None] = lambda text: None
