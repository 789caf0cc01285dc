"""``selenograph bench context``: which figures there are, and what each is measured with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from engine.bench.attention import attention_figures
from engine.bench.context.append import append_figure
from engine.bench.context.heavy import heavy_figures
from engine.bench.context.mixed import mixed_figure
from engine.bench.context.models import NANO, Models
from engine.bench.context.needles import needle_figures
from engine.bench.context.recompute import recompute_figure
from engine.bench.context.snapshot import snapshot_figure
from engine.bench.context.soak import soak_figures
from engine.bench.figures import Figure
from engine.bench.options import Options
from engine.bench.prediction import prediction_figures, write_predicting
from engine.bench.speculation import speculation_figures, write_copying
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


def _snapshot(bench: Bench) -> Iterator[Figure]:
    return snapshot_figure(bench.models.induction, bench.options.contexts.depth, bench.threads)


def _heavy(bench: Bench) -> Iterator[Figure]:
    return heavy_figures(bench.models.heavy, bench.options.contexts.prefix, bench.threads)


def _attention(bench: Bench) -> Iterator[Figure]:
    options = bench.options
    return chain.from_iterable(
        attention_figures(
            isa,
            bench.threads,
            options.seconds / 2,
            options.turn,
            ceiling_mebibytes=options.ceiling_mebibytes,
        )
        for isa in options.isas
    )


def _mixed(bench: Bench) -> Iterator[Figure]:
    sizes = bench.options.contexts
    return mixed_figure(bench.models.agent, sizes.long, sizes.mixed_seconds, bench.threads)


def _ngram(bench: Bench) -> Iterator[Figure]:
    folder = write_copying(bench.scratch / "copying")
    return speculation_figures(folder, bench.threads, bench.options.seconds)


def _mtp(bench: Bench) -> Iterator[Figure]:
    folder = write_predicting(bench.scratch / "predicting")
    return prediction_figures(folder, bench.threads, bench.options.seconds)


def _needles(bench: Bench) -> Iterator[Figure]:
    return needle_figures(bench.models.induction, bench.options.contexts.lengths, bench.threads)


def _soak(bench: Bench) -> Iterator[Figure]:
    sizes = bench.options.contexts
    return soak_figures(NANO, sizes.clients, sizes.minutes, bench.threads)


_WORK: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "append64k": _append,
    "recompute": _recompute,
    "snapshot": _snapshot,
    "heavy8": _heavy,
    "attention64k": _attention,
    "mixed": _mixed,
    "ngram": _ngram,
    "mtp": _mtp,
    "soak": _soak,
    "needle": _needles,
}


def context_figures(options: Options) -> Iterator[Figure]:
    """The figures of ``--only``, or all. Raises RequestError ``bad_name``.

    What is measured together has one name: ``ngram``, or ``ngram.copy``, gives both of its figures.
    """
    for name in options.only:
        if not any(_means(name, known) for known in _WORK):
            raise RequestError("bad_name", f"{name} is no figure", f"one of {', '.join(_WORK)}")
    with tempfile.TemporaryDirectory(prefix="selenograph-bench-") as folder:
        scratch = Path(folder)
        bench = Bench(options, Models(options, scratch), scratch)
        for known, work in _WORK.items():
            if not options.only or any(_means(name, known) for name in options.only):
                options.tell(known)
                yield from work(bench)


def _means(name: str, known: str) -> bool:
    return name == known or name.startswith(f"{known}.")
