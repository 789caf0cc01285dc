"""Whether the planner tells the truth: what it foretold beside what came."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
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
_LEAST_TOKENS, _MOST_TOKENS = 24, 512
_SECONDS = 0.5
"""Of writing, at least, where that takes no more than the most tokens."""
_LEAST_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Told:
    """A quantity in each round: as foretold by what the machine was before and after a reply, and
    as that reply had it.
    """

    name: str
    unit: str
    foretold: tuple[float, ...]
    measured: tuple[float, ...]

    @property
    def error(self) -> float:
        """Relative to what was measured, in the middle round: each reply is held against the
        machine as it was then, which on a shared one is another a few seconds later.
        """
        ratios = (f / m for f, m in zip(self.foretold, self.measured, strict=True))
        return abs(statistics.median(ratios) - 1)


def plan_figures(options: Options) -> Iterator[Figure]:
    """For ``--model``, or else the embedded model. The worst error is ``plan.error``."""
    folder = options.model or _EMBEDDED
    config = ModelConfig.from_folder(folder)
    name = short_name(config)
    foretold, replies = _rounds(options, folder, config)
    threads = foretold[0].threads
    told = compare(foretold, replies)
    for one in told:
        yield figure(
            f"plan.{one.name}",
            statistics.median(one.measured),
            one.unit,
            threads=threads,
            note=f"{name}, measured; foretold {statistics.median(one.foretold):.3g}",
        )
    worst = max(told, key=lambda one: one.error)
    yield figure(
        "plan.error",
        worst.error,
        "relative",
        "limit",
        _ERROR_LIMIT,
        threads=threads,
        note=f"{name}, worst of {len(told)}: {worst.name}, the middle of {len(replies)} rounds; "
        f"foretold {_span(worst.foretold)}, measured {_span(worst.measured)} {worst.unit}",
    )


def _rounds(
    options: Options, folder: Path, config: ModelConfig
) -> tuple[list[Placement], list[Reply]]:
    """The planner's measurements of the machine alternate with replies; they begin and end."""
    foretold = [_placement(options, folder, config)]
    replies: list[Reply] = []
    with session(folder, foretold[0].threads, as_planned(foretold[0])) as model:
        prompt = foretold[0].prefill[0].tokens
        model.reply(prompt, 1)
        foretold[0] = _placement(options, folder, config)
        wanted = int(_SECONDS * foretold[0].decode[0].tokens_per_s)
        tokens = min(max(wanted, _LEAST_TOKENS), _MOST_TOKENS, foretold[0].kv_tokens - prompt - 1)
        until = time.perf_counter() + options.seconds
        while len(replies) < _LEAST_ROUNDS or time.perf_counter() < until:
            options.tell("a reply")
            replies.append(model.reply(prompt, tokens + 1))
            foretold.append(_placement(options, folder, config))
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


def compare(foretold: Sequence[Placement], replies: Sequence[Reply]) -> list[Told]:
    """``foretold`` before each reply and after the last."""
    prompt = foretold[0].prefill[0].tokens

    def around(of: Callable[[Placement], float]) -> tuple[float, ...]:
        return tuple((of(a) + of(b)) / 2 for a, b in pairwise(foretold))

    first = tuple(r.first_seconds for r in replies)
    return [
        Told(
            "decode",
            "tokens/s",
            around(lambda p: p.decode[0].tokens_per_s),
            tuple(r.tokens_per_second for r in replies),
        ),
        Told(
            "prefill",
            "tokens/s",
            around(lambda p: p.prefill[0].tokens_per_s),
            tuple(prompt / seconds for seconds in first),
        ),
        Told("first_token", "s", around(lambda p: p.first_token_s), first),
    ]


def _span(values: Sequence[float]) -> str:
    return f"{min(values):.3g} to {max(values):.3g}"
