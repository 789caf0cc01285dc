"""Draw docs/img/performance.png from docs/benchmarks.jsonl: speed by threads, batch and context."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
_RESULTS = _ROOT / "docs" / "benchmarks.jsonl"
_PICTURE = _ROOT / "docs" / "img" / "performance.png"
_OURS, _THEIRS = "#3b6ea8", "#c2703d"
_SETS = {
    "avx2": "#7fb3d5",
    "avx_vnni": "#4aa37a",
    "avx512": "#8a6bbf",
    "avx512_vnni": _OURS,
    "amx_int8": "#b0507a",
}
"""A colour for each instruction set."""

Figure = dict[str, Any]
Points = list[tuple[float, float]]


def main() -> int:
    """Draws the last machine that figures were recorded on."""
    if not _RESULTS.exists():
        print("nothing has been recorded yet: selenograph bench layer --record", file=sys.stderr)
        return 1
    runs = [json.loads(line) for line in _RESULTS.read_text("utf-8").splitlines()]
    machine = runs[-1]["machine"]
    facts = ("processor", "cores", "isas")
    here = [run for run in runs if all(run["machine"].get(f) == machine[f] for f in facts)]
    title = f"{machine['processor']}, {machine['cores']} cores, {machine['isas'][-1]}"
    draw(latest([f for run in here for f in run["figures"]]), title, _PICTURE)
    return 0


def latest(figures: list[Figure]) -> list[Figure]:
    """The last figure of each name, instruction set, thread count and opponent."""
    kept = {(f["name"], f["isa"], f["threads"], f["against"]): f for f in figures}
    return list(kept.values())


def draw(figures: list[Figure], title: str, picture: Path) -> None:
    """Three panels; one without figures says so."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    sheet, axes = pyplot.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    sheet.suptitle(title, fontsize=10)
    by_threads, by_batch, by_context = axes
    # As shares: each set was measured beside the memory of its own minute.
    decode = [f for f in figures if f["name"] == "layer.decode" and f["ratio"]]
    share = {
        (f["isa"], f["threads"]): 100 * f["ratio"] for f in decode if f["against"] == "read ceiling"
    }
    for isa in sorted({isa for isa, _ in share}):
        points = [(threads, value) for (one, threads), value in share.items() if one == isa]
        _line(by_threads, points, isa, _SETS.get(isa, _OURS))
    peer = [
        (f["threads"], share[f["isa"], f["threads"]] / f["ratio"])
        for f in decode
        if f["against"] == "kt-kernel" and (f["isa"], f["threads"]) in share
    ]
    _line(by_threads, peer, "kt-kernel", _THEIRS)
    by_threads.set(title="K2 layer, one token", xlabel="threads", ylim=(0, 100))
    by_threads.set_ylabel("% of the streaming read")
    for isa in sorted({f["isa"] for f in figures if f["name"].startswith("layer.batch")}):
        points = _numbered(figures, r"layer\.batch(\d+)", isa)
        _line(by_batch, points, isa, _SETS.get(isa, _OURS))
    by_batch.set(title="K2 layer, random routing", xlabel="tokens a call", ylabel="tokens/s")
    context = [f for f in figures if f["name"].startswith("moonlight.context")]
    if context:
        isa = context[-1]["isa"]
        points = _numbered(context, r"moonlight\.context(\d+)", isa)
        _line(by_context, points, isa, _SETS.get(isa, _OURS))
    by_context.set(title="Moonlight's shape", xlabel="tokens before", ylabel="tokens/s")
    by_threads.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    for axis in (by_batch, by_context):
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}"))
        axis.set_ylim(bottom=0)
    for axis in axes:
        axis.grid(alpha=0.25)
        if axis.lines:
            axis.legend(fontsize=8)
        else:
            axis.text(0.5, 0.5, "not measured yet", ha="center", transform=axis.transAxes)
    picture.parent.mkdir(parents=True, exist_ok=True)
    sheet.savefig(picture, dpi=110)
    pyplot.close(sheet)


def _numbered(figures: list[Figure], pattern: str, isa: str | None = None) -> Points:
    """(N, value) of the figures whose name ends in a number."""
    found = [(re.fullmatch(pattern, f["name"]), f) for f in figures if isa in (None, f["isa"])]
    return [(float(match[1]), f["value"]) for match, f in found if match]


def _line(axis: Any, points: Points, label: str, colour: str = _OURS) -> None:
    if points:
        axis.plot(*zip(*sorted(points), strict=True), "o-", color=colour, markersize=3, label=label)


if __name__ == "__main__":
    sys.exit(main())
