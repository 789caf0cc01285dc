"""Routing traces: rows, steps, bounded memory, and files that lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import CheckpointError
from engine.experts.trace import Call, RoutingTrace, TraceRecorder


def _recorded(rows: int = 100) -> TraceRecorder:
    recorder = TraceRecorder(experts=8, top_k=2, rows=rows)
    for step in range(3):
        for layer in (1, 2):
            recorder.add(layer, np.array([[step, 7], [step + 1, 7]], np.int32))
    return recorder


def test_rows_become_calls() -> None:
    trace = _recorded().trace()
    assert len(trace) == 12
    assert list(trace.calls())[:3] == [
        Call(0, 1, (0, 1, 7)),
        Call(0, 2, (0, 1, 7)),
        Call(1, 1, (1, 2, 7)),
    ]


def test_a_model_with_one_such_layer_still_has_steps() -> None:
    recorder = TraceRecorder(experts=8, top_k=1)
    for _ in range(3):
        recorder.add(1, np.array([[4]], np.int32))
    assert [c.step for c in recorder.trace().calls()] == [0, 1, 2]


@pytest.mark.parametrize("rows", [1, 5, 12])
def test_only_the_newest_rows_are_kept(rows: int) -> None:
    everything, trace = _recorded().trace(), _recorded(rows).trace()
    assert len(trace) == rows
    assert (trace.ids == everything.ids[-rows:]).all()
    assert (trace.step == everything.step[-rows:]).all()


def test_more_rows_at_once_than_there_is_room_for() -> None:
    recorder = TraceRecorder(experts=64, top_k=1, rows=4)
    recorder.add(0, np.arange(10, dtype=np.int32)[:, None])
    assert recorder.trace().ids[:, 0].tolist() == [6, 7, 8, 9]


def test_a_file_gives_the_same_trace(tmp_path: Path) -> None:
    trace = _recorded().trace()
    trace.save(tmp_path / "t.npz")
    again = RoutingTrace.load(tmp_path / "t.npz")
    assert again.experts == 8
    assert list(again.calls()) == list(trace.calls())


@pytest.mark.parametrize(
    "change",
    [
        {"ids": np.zeros((3, 2), np.int16)},
        {"ids": np.full((12, 2), 8, np.int16)},
        {"ids": np.full((12, 2), -1, np.int16)},
        {"layer": np.zeros(12, np.float64)},
        {"step": np.array([{}] * 12, object)},
        {"experts": np.array("many")},
    ],
)
def test_files_that_lie_are_refused(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    trace = _recorded().trace()
    arrays = {"experts": 8, "step": trace.step, "layer": trace.layer, "ids": trace.ids, **change}
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(CheckpointError) as caught:
        RoutingTrace.load(tmp_path / "t.npz")
    assert caught.value.code == "trace_damaged"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"\x80\x04."])
def test_files_of_another_kind_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match="no routing trace"):
        RoutingTrace.load(tmp_path / "t.npz")
