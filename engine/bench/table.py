"""docs/performance.md's tables, written anew from docs/benchmarks.jsonl."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.bench.figures import Figure, row_of
from engine.bench.machine import Machine, Record, recorded
from engine.errors import RequestError

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
PICTURE = "img/performance.png"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def write_tables(document: Path = DOCUMENT, runs: Sequence[Record] | None = None) -> None:
    """Replace what stands between the marks. Raises RequestError ``no_marks``."""
    text = document.read_text("utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise RequestError("no_marks", f"{document.name} has no {BEGIN} … {END}")
    lines = list(_lines(recorded() if runs is None else runs, document.parent))
    document.write_text("\n".join([head + BEGIN, "", *lines, "", END + tail]), "utf-8")


def _lines(runs: Sequence[Record], folder: Path) -> Iterator[str]:
    if not runs:
        yield "No run has been recorded yet."
        return
    if (folder / PICTURE).exists():
        yield f"![Speed by threads, batch and context]({PICTURE})"
        yield ""
    machines = {_key(run.machine): run.machine for run in runs}
    for key, machine in machines.items():
        yield from _machine(machine, [run for run in runs if _key(run.machine) == key])


def _machine(machine: Machine, runs: list[Record]) -> Iterator[str]:
    yield f"### {machine.processor}, {machine.cores} cores, {machine.isas[-1]}"
    yield ""
    yield (
        f"{machine.memory_gib:.0f} GiB of memory, {machine.cache_mib:.0f} MiB last-level cache; "
        f"{' '.join(machine.flags)}; {machine.system}, Python {machine.python}, "
        f"torch {machine.torch}"
    )
    yield ""
    yield "| Figure | ISA | Threads | Value | Best turn | Against | Its value | Ratio | Commit |"
    yield "|---|---|--:|--:|--:|---|--:|--:|---|"
    latest: dict[tuple[object, ...], tuple[Figure, Record]] = {}
    for run in runs:
        for f in run.figures:
            latest[f.name, f.isa, f.threads, f.against] = (f, run)
    for f, run in latest.values():
        yield _row(f, run)
    yield ""
    notes = {f"{f.name}: {f.note}" for f, _ in latest.values() if f.note}
    yield from (f"- {note}" for note in sorted(notes))
    yield ""


def _row(f: Figure, run: Record) -> str:
    name, *cells = row_of(f)
    commit = run.machine.revision.removesuffix("-dirty")[:7]
    return "| " + " | ".join((f"`{name}`", *cells, commit)) + " |"


def _key(machine: Machine) -> tuple[object, ...]:
    """What makes two runs be of the same machine. Some names of processors tell no generation."""
    return machine.processor, machine.cores, machine.memory_gib, machine.flags
