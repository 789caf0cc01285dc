"""The pytest example of docs/evaluation.md, as it stands there, over the embedded model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TASK = {
    "id": "sum",
    "prompt": "What is 17*23 + 4? Use the calculator.",
    "tools": ["calculator"],
    "check": [{"kind": "number", "value": 395}, {"kind": "tool-called", "value": "calculator"}],
}
WRONG = {**TASK, "id": "wrong", "check": {"kind": "number", "value": 396}}


def test_the_documented_example_passes_and_fails_where_it_should(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    code, *_ = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "test_suite.py").write_text(code)
    (tmp_path / "suite.jsonl").write_text(f"{json.dumps(TASK)}\n{json.dumps(WRONG)}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "the last number is 395" in done.stdout
