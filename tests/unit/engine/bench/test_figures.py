"""Figures: the form that programs read, the table that people read, the file of results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.bench.figures import as_text, figure, number, write_json
from engine.bench.machine import describe, record, recorded

KEYS = {"name", "value", "unit", "against", "against_value", "ratio", "isa", "threads"}


def test_the_ratio_is_the_quotient(tmp_path: Path) -> None:
    figures = [
        figure("layer.decode", 9.0, "GB/s", "read ceiling", 10.0, isa="avx2", threads=2),
        figure("layer.batch2", 3.0, "tokens/s"),
    ]
    write_json(figures, tmp_path / "f.json")
    first, second = json.loads((tmp_path / "f.json").read_text())
    assert set(first) >= KEYS
    assert first["ratio"] == pytest.approx(0.9)
    assert second["against"] is None and second["ratio"] is None


def test_a_peer_that_is_absent_has_no_ratio_but_a_reason() -> None:
    found = figure("layer.decode", 9.0, "GB/s", "kt-kernel", note="absent: not installed")
    assert found.ratio is None and found.against == "kt-kernel"
    assert "absent: not installed" in as_text([found])


def test_the_table_has_a_line_a_figure_and_aligned_columns() -> None:
    text = as_text([figure("a", 1.0, "s"), figure("a.longer.name", 123456.0, "GFLOP/s")])
    head, short, long = text.splitlines()
    assert head.startswith("figure") and len(head.split()) == 9
    assert short.index("1 s") + len("1 s") == long.index("123,456 GFLOP/s") + len("123,456 GFLOP/s")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.0, "0"),
        (0.12345, "0.123"),
        (31.62, "31.6"),
        (163.7, "164"),
        (3e-7, "3.00e-07"),
    ],
)
def test_numbers_stay_readable(value: float | None, text: str) -> None:
    assert number(value) == text


def test_results_are_appended_with_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert recorded(path) == []
    record("layer", (figure("a", 1.0, "s"),), path)
    record("plan", (figure("b", 2.0, "s", "limit", 4.0),), path)
    first, second = recorded(path)
    assert (first.what, second.what) == ("layer", "plan")
    assert second.figures[0].ratio == 0.5
    assert first.machine.isas and first.machine.cores >= 1
    assert "scalar" in describe().isas


def test_every_committed_result_can_be_read() -> None:
    runs = recorded()
    assert len(runs) > 10
    assert all(run.machine.isas and run.figures for run in runs)
