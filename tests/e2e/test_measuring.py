"""``selenograph bench`` and ``selenograph verify`` as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NANO = ROOT / "resources" / "models" / "nano"


def selenograph(here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # The package is found from any folder: that is where it is installed.
    command = [sys.executable, "-m", "ui.launcher", *words]
    return subprocess.run(
        command, cwd=here, capture_output=True, text=True, timeout=120, check=False
    )


def test_bench_writes_where_the_person_is(tmp_path: Path) -> None:
    words = [
        "--shape",
        "64x32x2",
        "--experts",
        "4",
        "--prompt",
        "4",
        "--seconds",
        "0",
        "--turn",
        "0",
        "--threads",
        "1",
    ]
    run = selenograph(tmp_path, "bench", "layer", *words, "--json", "figures.json")
    assert run.returncode == 0, run.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert "layer.decode" in {f["name"] for f in figures}
    assert run.stdout.startswith("figure")


def test_bench_without_a_subject_is_a_usage_error(tmp_path: Path) -> None:
    run = selenograph(tmp_path, "bench")
    assert run.returncode == 2
    assert "usage: selenograph bench" in run.stderr


def test_verify_says_so_when_everything_is_right(tmp_path: Path) -> None:
    run = selenograph(tmp_path, "verify", str(NANO), "--json", "--seconds", "60")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["passed"] is True


def test_verify_of_nothing_is_1(tmp_path: Path) -> None:
    run = selenograph(tmp_path, "verify", "nowhere")
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith("error: ")
