"""A measured figure, and how figures are written for programs and for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

Against = Literal["read ceiling", "int8 peak", "fma peak", "kt-kernel", "llama.cpp", "limit"]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One result. ``value`` and ``against_value`` share ``unit``; ``ratio`` is their quotient.

    ``value`` is the median over the turns of the run, ``best`` the fastest turn: on a machine that
    is shared the two lie apart. Figures of speed grow when things get better; against a ``limit``
    the value must stay below.
    """

    name: str
    value: float
    unit: str
    against: Against | None = None
    against_value: float | None = None
    ratio: float | None = None
    isa: str = ""
    threads: int = 0
    best: float | None = None
    against_best: float | None = None
    note: str = ""
    """What has to be known to read the figure, e.g. why a peer is absent."""


def figure(
    name: str,
    value: float,
    unit: str,
    against: Against | None = None,
    against_value: float | None = None,
    *,
    isa: str = "",
    threads: int = 0,
    best: float | None = None,
    against_best: float | None = None,
    note: str = "",
) -> Figure:
    """A figure whose ratio is worked out here, in one place."""
    ratio = value / against_value if against_value else None
    return Figure(
        name=name,
        value=value,
        unit=unit,
        against=against,
        against_value=against_value,
        ratio=ratio,
        isa=isa,
        threads=threads,
        best=best,
        against_best=against_best,
        note=note,
    )


def write_json(figures: Sequence[Figure], path: Path) -> None:
    """A list of objects, indented."""
    text = msgspec.json.format(msgspec.json.encode(figures), indent=2)
    path.write_bytes(text + b"\n")


def as_text(figures: Sequence[Figure]) -> str:
    """A table for the terminal, one line a figure."""
    rows = [("figure", "isa", "thr", "value", "best", "against", "its value", "ratio")]
    rows += [row_of(f) for f in figures]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row, note in zip(rows, ["", *(f.note for f in figures)], strict=True):
        cells = [
            cell.ljust(width) if i in (0, 1, 5) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join([*cells, note]).rstrip())
    return "\n".join(lines)


def row_of(f: Figure) -> tuple[str, str, str, str, str, str, str, str]:
    """Name, set of instructions, threads, value, the most there can be, peer, its value, ratio."""
    return (
        f.name,
        f.isa,
        str(f.threads or ""),
        f"{number(f.value)} {f.unit}",
        number(f.best),
        f.against or "",
        number(f.against_value),
        "" if f.ratio is None else f"{f.ratio:.2f}",
    )


def number(value: float | None) -> str:
    """Three significant digits, without an exponent where that stays readable."""
    if value is None:
        return ""
    if value and not 1e-2 <= abs(value) < 1e6:
        return f"{value:.2e}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
