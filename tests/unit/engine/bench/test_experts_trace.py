"""Traces of the embedded model on real prompts, replayed; and what deferral does to its logits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.bench import experts_trace as bench
from engine.errors import RequestError
from engine.experts.trace import RoutingTrace


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trace() -> RoutingTrace:
    return bench.record(bench.NANO, bench.questions(2), reply=5)


def test_a_recorded_trace_has_prompts_and_replies(trace: RoutingTrace) -> None:
    assert trace.experts == 8
    layers = np.unique(trace.layer)
    assert layers.tolist() == [1, 2, 3, 4]
    replies = bench.replies_only(trace)
    assert len(replies) == 2 * 4 * len(layers), "the prompt's pass gives the first of five"
    assert len(trace) > 4 * len(replies)
    rows = {step: int((trace.step == step).sum()) for step in np.unique(trace.step)}
    assert sorted(rows.values())[:-2] == [4] * 8


def test_figures_stay_below_the_limit(trace: RoutingTrace) -> None:
    figures = list(bench.trace_figures("nano", trace))
    assert len(figures) == 9
    for f in figures:
        assert f.against == "limit" and f.ratio is not None
        assert 0 < f.value <= f.against_value <= 1
    sizes = {f.note for f in figures}
    assert sizes == {"8 of 32 experts", "16 of 32 experts", "24 of 32 experts"}


def test_a_saved_trace_is_replayed_instead(trace: RoutingTrace, tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    trace.save(path)
    figures = bench.run(traces=[path], skews=())
    assert [f.name for f in figures][:3] == [
        f"experts.mine.25%.{policy}" for policy in ("static", "lru", "lfu")
    ]
    assert figures == list(bench.trace_figures("mine", trace))


def test_a_file_that_is_no_trace_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--trace", str(tmp_path / "none.npz")]) == 1
    assert "trace_damaged" in capsys.readouterr().err


def test_deferral_moves_logits_a_little() -> None:
    (moved,) = bench.deferral_drift(prompts=2)
    assert moved.deferred == 1
    assert 0 < moved.divergence < 0.2
    assert 0.8 < moved.agreement <= 1


@pytest.mark.parametrize("count", [0, 10_000])
def test_as_many_prompts_as_there_are(count: int) -> None:
    with pytest.raises(RequestError, match="prompts"):
        bench.questions(count)
