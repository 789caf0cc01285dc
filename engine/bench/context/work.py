"""``selenograph bench context``: which figures there are, and what each is measured with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.bench.context.append import append_figure
from engine.bench.context.heavy import heavy_figures
from engine.bench.context.mixed import mixed_figure
from engine.bench.context.models import NANO, Models
from engine.bench.context.recompute import recompute_figure
from engine.bench.context.soak import soak_figures
from engine.bench.figures import Figure
from engine.bench.options import Options
from engine.errors import RequestError


@dataclass(frozen=True, slots=True)
class Bench:
    """What a figure's work is given."""

    options: Options
    models: Models
    scratch: Path

    @property
    def threads(self) -> int:
        return self.options.threads[-1]


def _append(bench: Bench) -> Iterator[Figure]:
    sizes, options = bench.options.contexts, bench.options
    return append_figure(bench.models.induction, sizes.depth, options.seconds, bench.threads)


def _recompute(bench: Bench) -> Iterator[Figure]:
    return recompute_figure(bench.scratch, bench.options.contexts.steps, bench.threads)


def _heavy(bench: Bench) -> Iterator[Figure]:
    return heavy_figures(bench.models.heavy, bench.options.contexts.prefix, bench.threads)


def _mixed(bench: Bench) -> Iterator[Figure]:
    sizes = bench.options.contexts
    return mixed_figure(bench.models.agent, sizes.long, sizes.mixed_seconds, bench.threads)


def _soak(bench: Bench) -> Iterator[Figure]:
    sizes = bench.options.contexts
    return soak_figures(NANO, sizes.clients, sizes.minutes, bench.threads)


_WORK: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "append64k": _append,
    "recompute": _recompute,
    "heavy8": _heavy,
    "mixed.p95": _mixed,
    "soak": _soak,
}


def context_figures(options: Options) -> Iterator[Figure]:
    """The figures of ``--only``, or all. Raises RequestError ``bad_name``."""
    for name in options.only:
        if name not in _WORK:
            raise RequestError("bad_name", f"{name} is no figure", f"one of {', '.join(_WORK)}")
    with tempfile.TemporaryDirectory(prefix="selenograph-bench-") as folder:
        scratch = Path(folder)
        bench = Bench(options, Models(options, scratch), scratch)
        for name, work in _WORK.items():
            if not options.only or name in options.only:
                options.tell(name)
                yield from work(bench)
