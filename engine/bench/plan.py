"""Whether the planner tells the truth: what it foretold beside what came."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.bench.figures import Figure, figure
from engine.bench.model import short_name
from engine.bench.options import Options
from engine.bench.session import Reply, session
from engine.config import ModelConfig
from engine.errors import ResourceError
from engine.model.loader import KernelOptions
from engine.placement.footprint import footprint
from engine.placement.planner import plan
from engine.placement.probe import probe
from engine.protocol import Placement

_EMBEDDED = Path(__file__).parents[2] / "resources" / "models" / "nano"
_ERROR_LIMIT = 0.25
_TOKENS = 24


@dataclass(frozen=True, slots=True)
class _Told:
    """A quantity as foretold and as measured, the medians of some rounds."""

    name: str
    unit: str
    foretold: float
    measured: float

    @property
    def error(self) -> float:
        """Relative to what was measured."""
        return abs(self.foretold / self.measured - 1)


def plan_figures(options: Options) -> Iterator[Figure]:
    """For ``--model``, or else the embedded model. The worst error is ``plan.error``."""
    folder = options.model or _EMBEDDED
    config = ModelConfig.from_folder(folder)
    name = short_name(config)
    foretold, replies = _rounds(options, folder, config)
    threads = foretold[0].threads
    told = _compare(foretold, replies)
    for one in told:
        yield figure(
            f"plan.{one.name}",
            one.measured,
            one.unit,
            threads=threads,
            note=f"{name}, measured; foretold {one.foretold:.3g}",
        )
    worst = max(told, key=lambda one: one.error)
    yield figure(
        "plan.error",
        worst.error,
        "relative",
        "limit",
        _ERROR_LIMIT,
        threads=threads,
        note=f"{name}, worst of {len(told)}: {worst.name} foretold {worst.foretold:.3g}, "
        f"measured {worst.measured:.3g} {worst.unit}",
    )


def _rounds(
    options: Options, folder: Path, config: ModelConfig
) -> tuple[list[Placement], list[Reply]]:
    """The planner's measurements of the machine alternate with replies."""
    first = _placement(options, folder, config)
    foretold: list[Placement] = []
    replies: list[Reply] = []
    with session(folder, first.threads, as_planned(first)) as model:
        prompt = first.prefill[0].tokens
        model.reply(prompt, 1)
        until = time.perf_counter() + options.seconds
        while not replies or time.perf_counter() < until:
            foretold.append(_placement(options, folder, config))
            options.tell("a reply")
            replies.append(model.reply(prompt, _TOKENS + 1))
    return foretold, replies


def as_planned(placement: Placement) -> KernelOptions:
    """Load dense parts in the form that was planned; other forms are only ever as published."""
    form = placement.dense_form
    return KernelOptions(dense=form if form == "int8" or form == "int4" else "published")


def _placement(options: Options, folder: Path, config: ModelConfig) -> Placement:
    options.tell("the planner measures this machine")
    placement = plan(footprint(config, folder.name), probe(folder))
    if not placement.decode:
        raise ResourceError("does_not_fit", f"{folder.name} does not fit this machine")
    return placement


def _compare(foretold: list[Placement], replies: list[Reply]) -> list[_Told]:
    prompt = foretold[0].prefill[0].tokens

    def middle(of: Callable[[Placement], float]) -> float:
        return statistics.median(of(p) for p in foretold)

    first = statistics.median(r.first_seconds for r in replies)
    return [
        _Told(
            "decode",
            "tokens/s",
            middle(lambda p: p.decode[0].tokens_per_s),
            statistics.median(r.tokens_per_second for r in replies),
        ),
        _Told("prefill", "tokens/s", middle(lambda p: p.prefill[0].tokens_per_s), prompt / first),
        _Told("first_token", "s", middle(lambda p: p.first_token_s), first),
    ]
