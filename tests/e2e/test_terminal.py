"""``selenograph`` as a person types it: whole processes, exit codes, what is on which stream."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.bus import Bus
from app.state import fold_all
from app.store.db import Database
from app.store.journal import Journal

QUESTION = "What is 17*23 + 4? Use the calculator."
Run = subprocess.CompletedProcess[str]


def selenograph(data: Path, *words: str, **options: Any) -> Run:
    command = [sys.executable, "-m", "ui.launcher", "--data", str(data), *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, **options
    )


def lines(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_an_answer(tmp_path: Path) -> None:
    run = selenograph(tmp_path, "run", QUESTION, "--yes", "--json")
    assert run.returncode == 0, run.stderr
    *events, summary = lines(run)
    assert summary["type"] == "run_summary"
    assert summary["status"] == "answered"
    assert "395" in summary["answer"]
    assert summary["tool_calls"] >= 1
    assert summary["steps"] >= 2
    assert [e["type"] for e in events].count("turn.end") == 1


def test_usage_is_2(tmp_path: Path) -> None:
    assert selenograph(tmp_path, "nonsense").returncode == 2
    assert selenograph(tmp_path, "run").returncode == 2
    assert selenograph(tmp_path, "run", "x", "--effort", "mad").returncode == 2


def test_help_and_version(tmp_path: Path) -> None:
    assert "run" in selenograph(tmp_path, "--help").stdout
    assert selenograph(tmp_path, "--version").stdout.startswith("selenograph ")


def test_a_folder_that_cannot_be_used_is_1(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("in the way")
    run = selenograph(place, "run", "Hello")
    assert run.returncode == 1
    assert run.stdout == ""
    assert len(run.stderr.splitlines()) == 1
    assert run.stderr.startswith("error: ")


def test_a_damaged_database_is_kept_aside(tmp_path: Path) -> None:
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "conversations.db").write_bytes(b"this is no database" * 1000)
    run = selenograph(tmp_path, "run", QUESTION, "--yes", "--json")
    assert run.returncode == 0, run.stderr
    aside = [p for p in tmp_path.iterdir() if "damaged" in p.name]
    assert aside
    assert any(p.read_bytes().startswith(b"this is no database") for p in aside)


def test_no_display(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    env.pop("QT_QPA_PLATFORM", None)
    run = selenograph(tmp_path, env=env)
    assert run.returncode == 1
    assert run.stderr.startswith("error: no_display")
    assert "selenograph run" in run.stderr


def test_a_second_window(tmp_path: Path) -> None:
    quiet = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}  # where no box waits for a person
    command = [sys.executable, "-m", "ui.launcher", "--data", str(tmp_path)]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        lock = tmp_path / "window.lock"
        until = time.monotonic() + 60
        while not (lock.exists() and lock.read_text()) and time.monotonic() < until:
            time.sleep(0.05)
        second = selenograph(tmp_path, env=quiet)
        assert second.returncode == 1
        assert "second_instance" in second.stderr
        time.sleep(2)
        first.send_signal(signal.SIGTERM)
        _, errors = first.communicate(timeout=60)
        assert first.returncode == 0
        known = "This plugin does not support propagateSizeHints()"  # of the offscreen platform
        assert [line for line in errors.splitlines() if line != known] == []
    finally:
        first.kill()
        first.wait()


@pytest.mark.parametrize("after", [0.0, 0.05, 0.15])
def test_killed_and_continued(tmp_path: Path, after: float) -> None:
    """Every finished step that was printed survives kill -9; the rest reads as cut off."""
    command = [sys.executable, "-m", "ui.launcher", "--data", str(tmp_path)]
    words = ["run", "What is the mean of 12, 7, 30 and 11? Use Python.", "--yes", "--json"]
    process = subprocess.Popen(
        [*command, *words], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    printed: list[dict[str, Any]] = []
    try:
        for line in process.stdout:
            printed.append(json.loads(line))
            if printed[-1]["type"] == "step.end":
                time.sleep(after)
                break
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    conversation = printed[-1]["conversation"]
    database, notice = Database.open(tmp_path / "conversations.db")
    assert notice is None
    try:
        journal = Journal(database, Bus())
        journal.recover()
        stored = journal.events(conversation)
        state = journal.state(conversation)
    finally:
        database.close()
    seqs = [event.seq for event in stored]
    assert seqs == list(range(1, len(seqs) + 1))
    assert max(e["seq"] for e in printed) <= len(seqs)
    assert fold_all(stored).turns == state.turns
    turn = state.turns[-1]
    assert turn.steps[0].ended
    assert turn.steps[0].tools[0].status == "ok"
    assert turn.status != "running"
    if turn.status != "answered":
        again = selenograph(tmp_path, "run", QUESTION, "--yes", "--json")
        assert again.returncode == 0


def test_a_random_model_is_made_inspected_and_refused_twice(tmp_path: Path) -> None:
    out = tmp_path / "model"
    made = selenograph(tmp_path, "make-model", "nano", str(out), "--layers", "2")
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip() == str(out)
    report = json.loads(selenograph(tmp_path, "inspect", str(out), "--json").stdout)
    assert report["complete"]
    assert (report["layers"], report["expert_format"]) == (2, "int4 g32")
    again = selenograph(tmp_path, "make-model", "nano", str(out))
    assert again.returncode == 1
    assert again.stderr.startswith("error: exists")
    assert selenograph(tmp_path, "make-model", "nonesuch", str(out)).returncode == 1
    usage = selenograph(tmp_path, "make-model", "nano", str(out), "--fill-experts", "1")
    assert usage.returncode == 2


def test_serve_loads_as_it_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ui.launcher", "--data", str(tmp_path), "serve", "--json"]
    words = ["--set", "threads=1", "--set", "max_context=512"]
    with subprocess.Popen([*command, *words], stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        ready = json.loads(serving.stdout.readline())
        headers = {"Authorization": f"Bearer {ready['token']}"}
        url = ready["url"].removesuffix("/v1") + "/engine/status"
        status = httpx2.get(url, headers=headers).json()
        serving.send_signal(signal.SIGINT)
    assert (status["threads"], status["context_length"]) == (1, 512)
    assert serving.returncode == 130


def test_run_loads_as_it_is_told(tmp_path: Path) -> None:
    run = selenograph(tmp_path, "run", QUESTION, "--yes", "--set", "threads=1")
    assert run.returncode == 0 and "395" in run.stdout, run.stderr
    assert "loading" in run.stderr
    wrong = selenograph(tmp_path, "run", QUESTION, "--set", "thread=1")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: bad_option: 'thread=1'"), wrong.stderr
    assert "threads" in wrong.stderr and "Traceback" not in wrong.stderr
