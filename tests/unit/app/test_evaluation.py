"""Held-out tasks through the core, with a scripted model and the real tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.backends.scripted import Reply, ScriptedBackend
from app.core import Core
from app.errors import ConfigError
from app.eval_tasks import EvalTask
from app.evaluation import TaskResult, run_eval, run_tasks, summarise
from app.paths import Paths

SUM = EvalTask("t0", "calculator", "What is 17*23+4?", ("395",), ("calculator",))
HELLO = EvalTask("t1", "greeting", "Hello", ("hello",), ("calculator",), calls=False)
LOOK_UP = EvalTask(
    "t2", "notes", "Where is Ada?", ("Rome",), ("search_files",), {"a/b.txt": "Ada is in Rome."}
)
CALL = Reply(reasoning="r", calls=(("calculator", '{"expression": "17*23+4"}'),))


def results(tmp_path: Path, replies: list[Reply], *tasks: EvalTask) -> list[TaskResult]:
    core = Core(Paths.under(tmp_path / "data"), backend=ScriptedBackend(replies))
    core.start()
    try:
        return list(run_tasks(core, tasks, tmp_path))
    finally:
        core.close()


def test_a_right_run(tmp_path: Path) -> None:
    (result,) = results(tmp_path, [CALL, Reply(text="17*23+4 = 395.")], SUM)
    assert (result.right, result.status, result.tool_calls) == (True, "answered", 1)
    assert result.answer == "17*23+4 = 395."


def test_a_wrong_answer(tmp_path: Path) -> None:
    (result,) = results(tmp_path, [CALL, Reply(text="It is 396.")], SUM)
    assert not result.right


def test_a_call_where_none_belongs_is_wrong(tmp_path: Path) -> None:
    (result,) = results(tmp_path, [CALL, Reply(text="Hello!")], HELLO)
    assert (result.right, result.tool_calls) == (False, 1)


def test_each_task_has_its_own_folder(tmp_path: Path) -> None:
    search = Reply(calls=(("search_files", '{"query": "Ada"}'),))
    script = [search, Reply(text="Ada is in Rome."), Reply(text="Hello!")]
    found = results(tmp_path, script, LOOK_UP, HELLO)
    assert [r.right for r in found] == [True, True]
    assert (tmp_path / "t2" / "a" / "b.txt").read_text() == "Ada is in Rome."
    assert list((tmp_path / "t1").iterdir()) == []


def test_accuracy_per_family() -> None:
    rows = tuple(
        TaskResult(str(i), family, right, "answered", "", (), 0)
        for i, (family, right) in enumerate([("a", True), ("a", False), ("b", True), ("b", True)])
    )
    report = summarise("m", rows)
    assert (report.accuracy, report.n) == (0.75, 4)
    assert report.families["a"].accuracy == 0.5
    assert report.families["b"].right == 2


def test_unknown_task_set() -> None:
    with pytest.raises(ConfigError) as caught:
        run_eval("nothing", None, None)
    assert caught.value.code == "no_eval"
