"""The loss curve as a picture."""

from __future__ import annotations

import json
from pathlib import Path


def plot(log: Path, picture: Path) -> None:
    """Draws loss and whole-task accuracy over the tokens seen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    losses = [(x["tokens"] / 1e6, x["loss"]) for x in lines if "loss" in x]
    figure, axis = pyplot.subplots(figsize=(7, 3.6), layout="constrained")
    axis.plot(*zip(*losses, strict=True), color="#3b6ea8", linewidth=1.2, label="loss")
    axis.set(yscale="log", xlabel="million tokens", ylabel="loss (assistant's tokens)")
    axis.grid(alpha=0.25)
    right = axis.twinx()
    for label, colour in (("known", "#5a9a5a"), ("unseen", "#c2703d")):
        tried = [(x["tokens"] / 1e6, 100 * x[label]) for x in lines if label in x]
        if tried:
            name = f"tasks right, {label} phrasings"
            right.plot(*zip(*tried, strict=True), "o-", color=colour, markersize=3, label=name)
    right.set(ylabel="whole tasks right (%)", ylim=(0, 102))
    handles = [*axis.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
    axis.legend(handles=handles, loc="center right", fontsize=8)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)
