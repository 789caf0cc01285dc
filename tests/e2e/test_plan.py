"""Plans as they are asked for: over HTTP from an engine without a model, and in the terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine.protocol import PlanReport
from engine.tiny import write_tiny

from .engine_process import ROOT, EngineProcess, error_of

Run = subprocess.CompletedProcess[str]


def selenograph(data: Path, *words: str, cwd: Path | None = None) -> Run:
    command = [sys.executable, "-m", "ui.launcher", "--data", str(data), "plan", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd or ROOT
    )


def test_over_http(tmp_path: Path) -> None:
    with EngineProcess.started(tmp_path / "log") as engine, engine.http() as http:
        asked = {"model": "k2-thinking", "hardware": "epyc-768gb-48gb", "context": 8192}
        reply = http.post("/engine/plan", json=asked)
        assert reply.status_code == 200, reply.text
        report = msgspec.json.decode(reply.content, type=PlanReport)
        assert report.placement.verdict == "runs well"
        assert report.placement.kv_tokens == 8192
        refused = http.post("/engine/plan", json={"model": "k3"})
        assert (refused.status_code, error_of(refused).code) == (400, "unknown_shape")


def test_in_the_terminal(tmp_path: Path) -> None:
    run = selenograph(tmp_path, "k2-thinking", "--hardware", "threadripper-512gb-24gb", "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["placement"]["verdict"] == "runs slowly"
    text = selenograph(tmp_path, "k2-thinking", "--hardware", "laptop-16gb")
    assert text.returncode == 1 and "does not fit" in text.stdout and not text.stderr


def test_paths_are_those_of_the_folder_one_is_in(tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny")
    run = selenograph(tmp_path, "tiny", "--hardware", "laptop-16gb", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("tiny on Laptop")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "no model given"),
        (("k3", "--hardware", "laptop-16gb"), 1, "unknown_shape"),
        (("nano", "--hardware", "./nowhere.json"), 1, "hardware_missing"),
        (("nano", "--context", "0"), 2, "at least 1"),
    ],
)
def test_mistakes_are_one_line_on_stderr(
    tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    run = selenograph(tmp_path, *words)
    assert run.returncode == code
    assert said in run.stderr and not run.stdout
