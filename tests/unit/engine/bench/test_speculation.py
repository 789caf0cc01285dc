"""The figures of drafts, from a small model; the ratios themselves are the benchmark's business."""

from __future__ import annotations

from pathlib import Path

from engine.bench.speculation import COPY_LEAST, FREE_LEAST, speculation_figures
from engine.making.induction import write_induction


def test_the_same_reply_is_timed_with_and_without(tmp_path: Path) -> None:
    folder = write_induction(tmp_path / "induction", context=2048)
    copy, free = speculation_figures(folder, threads=1, seconds=0.0, rounds=1, tokens=60)
    assert (copy.name, copy.against, copy.against_value) == ("ngram.copy", "limit", COPY_LEAST)
    assert (free.name, free.against, free.against_value) == ("ngram.free", "limit", FREE_LEAST)
    assert " 60 tokens;" in copy.note
    assert copy.value > 0 and free.value > 0
