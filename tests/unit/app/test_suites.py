"""Suites of one's own: what is read, what is right, what is reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.backends.scripted import Reply, ScriptedBackend
from app.core import Core
from app.errors import ConfigError
from app.evaluation import TaskResult, compared, interval, run_tasks, sign_test, summarise
from app.guard.custom import TrustedFolder
from app.paths import Paths
from app.settings import Settings
from app.state import Step, ToolRun, Turn
from app.suites import Task, load_suite, wrong


def suite(tmp_path: Path, *tasks: dict[str, Any]) -> tuple[Task, ...]:
    path = tmp_path / "suite.jsonl"
    path.write_text("\n".join(json.dumps(task) for task in tasks) + "\n\n")
    return load_suite(path)


def answered(text: str, *tools: ToolRun) -> Turn:
    step = Step(0, "s", 0.0, tools=tools)
    return Turn("t", None, "q", Settings().run, 0.0, (step,), "answered", text)


CALLED = ToolRun("c", "calculator", '{"expression": "1+1", "x": 2}', 0.0, status="ok")


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        ({"kind": "exact", "value": "Paris"}, " paris ", "Paris, France"),
        ({"kind": "exact", "value": ["a", "B"], "strict": True}, "B", "b"),
        ({"kind": "contains", "value": "395"}, "It is 395.", "It is 3951."),
        ({"kind": "contains", "value": ["Rome|Roma", "2"]}, "Roma has 2", "Roma"),
        ({"kind": "regex", "value": r"\bK2\b"}, "so K2 it is", "K20"),
        ({"kind": "regex", "value": r"[A-D]", "whole": True}, "C", "C."),
        ({"kind": "number", "value": 3.14, "absolute": 0.01}, "2 or 3.1449", "3.2"),
        ({"kind": "number", "value": 1200}, "about 1,200", "none"),
        (
            {"kind": "json-schema", "value": {"type": "object", "required": ["a"]}},
            'So:\n```json\n{"a": 1}\n```',
            '{"b": 1}',
        ),
    ],
)
def test_checkers(tmp_path: Path, check: dict[str, Any], good: str, bad: str) -> None:
    (task,) = suite(tmp_path, {"id": "1", "prompt": "q", "check": check})
    trusted = TrustedFolder(tmp_path)
    assert wrong(task, answered(good), trusted) == ""
    assert wrong(task, answered(bad), trusted) != ""


@pytest.mark.parametrize(
    ("check", "right"),
    [
        ({"value": "calculator"}, True),
        ({"value": "calculator", "times": 2}, False),
        ({"value": "calculator", "arguments": {"x": 2}}, True),
        ({"value": "calculator", "arguments": {"x": 3}}, False),
        ({"value": "*", "times": 0}, False),
        ({"value": "python", "times": 0}, True),
    ],
)
def test_whether_a_tool_was_called(tmp_path: Path, check: dict[str, Any], right: bool) -> None:
    check = {"kind": "tool-called", **check}
    (task,) = suite(tmp_path, {"id": "1", "prompt": "q", "check": [check]})
    assert (wrong(task, answered("x", CALLED), TrustedFolder(tmp_path)) == "") is right


def test_a_checker_of_ones_own_comes_from_the_trusted_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "guards"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "mine.py").write_text("def even(a, task): return len(a) % 2 == 0 or task['id']")
    (folder / "mine.py").chmod(0o600)
    (task,) = suite(
        tmp_path, {"id": "7", "prompt": "q", "check": {"kind": "python", "value": "mine.py:even"}}
    )
    assert wrong(task, answered("ab"), TrustedFolder(folder)) == ""
    assert wrong(task, answered("abc"), TrustedFolder(folder)) == "7"
    with pytest.raises(ConfigError):
        wrong(task, answered("ab"), TrustedFolder(tmp_path / "elsewhere"))


@pytest.mark.parametrize(
    "line",
    [
        "{",
        '{"id": "1", "prompt": "q"}',
        '{"id": "1", "prompt": "q", "check": {"kind": "magic", "value": 1}}',
        '{"id": "1", "prompt": "q", "check": {"kind": "regex", "value": "("}}',
        '{"id": "1", "prompt": "q", "check": {"kind": "json-schema", "value": {"type": 3}}}',
        '{"id": "1", "prompt": "q", "chekc": 1, "check": {"kind": "exact", "value": "x"}}',
        '{"id": "1", "prompt": "q", "files": {"..": ""}, "check": {"kind": "exact", "value": ""}}',
        '{"id": "1", "prompt": "q", "files": {"/x": ""}, "check": {"kind": "exact", "value": ""}}',
        '{"id": "1", "prompt": "q", "check": []}',
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(f"\n{line}\n")
    with pytest.raises(ConfigError, match=r"s\.jsonl:2: ") as caught:
        load_suite(path)
    assert caught.value.code == "bad_suite"


def test_a_suite_runs_through_the_core(tmp_path: Path) -> None:
    tasks = suite(
        tmp_path,
        {
            "id": "sum/1",
            "prompt": "17*23+4?",
            "check": [
                {"kind": "number", "value": 395},
                {"kind": "tool-called", "value": "calculator"},
            ],
        },
        {
            "id": "2",
            "prompt": "run it",
            "allow": [],
            "check": {"kind": "tool-called", "value": "python"},
        },
    )
    script = [
        Reply(calls=(("calculator", '{"expression": "17*23+4"}'),)),
        Reply(text="It is 395."),
        Reply(calls=(("python", '{"code": "1"}'),)),
        Reply(text="denied"),
    ]
    core = Core(Paths.under(tmp_path / "data"), backend=ScriptedBackend(script))
    core.start()
    try:
        first, second = run_tasks(core, tasks, tmp_path)
    finally:
        core.close()
    assert (first.right, first.steps, first.tool_calls) == (True, 2, 1)
    assert first.tokens > 0 and first.seconds > 0
    assert (second.right, second.why) == (False, "python was called 0 times")


def test_intervals_and_comparisons() -> None:
    assert interval(0, 0) == (0.0, 1.0)
    low, high = interval(92, 100)
    assert low == pytest.approx(0.850, abs=0.001) and high == pytest.approx(0.959, abs=0.001)
    assert sign_test(0, 0) == 1.0
    assert sign_test(10, 0) == pytest.approx(2 / 1024)
    assert sign_test(3, 3) == 1.0

    def report(*right: bool) -> Any:
        rows = tuple(
            TaskResult(str(i), "", one, "answered", "", (), 0) for i, one in enumerate(right)
        )
        return summarise("m", rows)

    text = compared(report(True, False, False), report(True, True, False))
    assert "accuracy 0.3333 → 0.6667 over 3 common tasks" in text
    assert "now right: 1\nnow wrong: none" in text
