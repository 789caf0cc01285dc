"""Inspect AI's examples of docs/evaluation.md, as they stand there, over the embedded model.
``make test-third-party`` sets it up; SELENOGRAPH_INSPECT names its program.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

INSPECT = os.environ.get("SELENOGRAPH_INSPECT", "")
ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.third_party, pytest.mark.timeout(600)]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home of its own, and a ``selenograph`` that is this one."""
    if not INSPECT:
        pytest.skip("SELENOGRAPH_INSPECT names no program")
    program = tmp_path / "bin" / "selenograph"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={os.pathsep.join([str(ROOT), *filter(None, sys.path)])}\n"
        f'exec {sys.executable} -m ui.launcher "$@"\n'
    )
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HOME": str(tmp_path)}


@pytest.fixture
def served(tmp_path: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """``selenograph serve`` runs; the environment knows where."""
    words = ["selenograph", "serve", "--port", "0", "--json", "--data", str(tmp_path / "data")]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        said = json.loads(server.stdout.readline())
        yield {
            **environment,
            "SELENOGRAPH_BASE_URL": said["url"],
            "SELENOGRAPH_API_KEY": said["token"],
        }
        server.terminate()


def evaluated(number: int, model: str, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """The log of an example's run."""
    text = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    (folder / "example.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[number])
    words = [INSPECT, "eval", "example.py", "--model", model, "--display", "plain"]
    words += ["--log-dir", "logs", "--log-format", "json", "--temperature", "0"]
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (log,) = (folder / "logs").glob("*.json")
    found: dict[str, Any] = json.loads(log.read_text())
    assert "error" not in found["samples"][0], found["samples"][0]["error"]["message"]
    return found


def test_the_model_through_serve(tmp_path: Path, served: dict[str, str]) -> None:
    log = evaluated(1, "openai-api/selenograph/nano", tmp_path, served)
    (sample,) = log["samples"]
    assert sample["scores"]["includes"]["value"] == "C"
    called = [c for m in sample["messages"] for c in m.get("tool_calls") or ()]
    assert [call["function"] for call in called] == ["calculator"]
    thought = [part for m in sample["messages"] for part in m["content"] if "reasoning" in part]
    assert thought, "its reasoning is told apart"


def test_the_agent_through_mcp(tmp_path: Path, environment: dict[str, str]) -> None:
    log = evaluated(2, "none", tmp_path, environment)
    (sample,) = log["samples"]
    assert sample["scores"]["includes"]["value"] == "C"
    assert sample["metadata"] == {"status": "answered", "steps": 2, "tool_calls": 1}
