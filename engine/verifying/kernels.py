"""Sampled experts through every instruction set and mode, against float64."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.experts.base import ExpertBackend, ExpertWeights
from engine.experts.native import Mode
from engine.verifying.accuracy import expert_output, relative_error, wide_output
from engine.verifying.report import Check
from engine.verifying.sample import Source

LIMITS: dict[Mode, float] = {"exact": 2e-3, "fast": 2e-2}
"""Relative error of an expert. Exact keeps at least bf16 activations (2^-9 each); fast rounds them
to INT8 on the way, which in the worst token of a small model gives up to 1e-2. One wrong group
among the 224 of a K2 row already gives 9e-2, a wrong order of weights more than 1."""
_EXPERTS = 4
_BATCHES = (1, 9)
"""One token and several take different kernels; nine is no multiple of any tile."""

Make = Callable[[str, Mode], ExpertBackend]
"""A backend of an instruction set and mode."""


@dataclass(frozen=True, slots=True)
class _Case:
    """Sampled experts of a layer, tokens, and what is right for them."""

    layer: int
    names: list[int]
    experts: list[ExpertWeights]
    x: Tensor
    right: list[Tensor]


def check_kernels(
    source: Source, isas: tuple[str, ...], make: Make, until: float, tell: Callable[[str], None]
) -> Iterator[Check]:
    """A check for each instruction set and mode; of one layer at least, of three if time allows."""
    cases = list(_cases(source, until, tell))
    for isa in isas:
        for mode, limit in LIMITS.items():
            tell(f"kernels: {isa} {mode}")
            worst, where, done = -1.0, "", 0
            with closing(make(isa, mode)) as backend:
                for case in cases[: 1 if time.monotonic() > until else None]:
                    error, expert = _worst(backend, case)
                    done += len(case.experts)
                    if error > worst:
                        worst, where = error, f"layer {case.layer}, expert {expert}"
            yield Check(
                name=f"kernels {isa} {mode}",
                passed=worst <= limit,
                worst=worst,
                limit=limit,
                where=where,
                covered=f"{done} of {source.count:,} experts",
            )


def _cases(source: Source, until: float, tell: Callable[[str], None]) -> Iterator[_Case]:
    draw = torch.Generator().manual_seed(0)
    for i, layer in enumerate(source.some_layers()):
        if i and time.monotonic() > until:
            return
        tell(f"float64 reference: layer {layer}")
        names = source.some_experts(layer, _EXPERTS)
        there = source.experts(layer)
        experts = [there[e] for e in names]
        x = torch.randn(max(_BATCHES), source.config.hidden_size, generator=draw)
        yield _Case(layer, names, experts, x, [wide_output(x, e) for e in experts])


def _worst(backend: ExpertBackend, case: _Case) -> tuple[float, int]:
    """The largest error, and the expert that has it."""
    backend.add_layer(case.layer, case.experts)
    found = [
        (relative_error(expert_output(backend, case.layer, i, case.x[:n]), right[:n]), name)
        for i, (name, right) in enumerate(zip(case.names, case.right, strict=True))
        for n in _BATCHES
    ]
    return max(found)
