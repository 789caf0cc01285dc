"""``selenograph eval``: a model's held-out tasks through the agent core, engine and tools."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from app import events as ev
from app.core import Core
from app.errors import ConfigError, SelenographError
from app.eval_tasks import EvalTask, is_right, load_tasks
from app.events import Budget, RunSettings
from app.paths import Paths
from app.settings import Settings

MODELS = Path(__file__).parents[1] / "resources" / "models"
BUDGET = Budget(steps=12, tokens=2000, seconds=180.0)


class TaskResult(msgspec.Struct, frozen=True):
    """How one task went. ``status`` is the turn's."""

    id: str
    family: str
    right: bool
    status: str
    answer: str
    expect: tuple[str, ...]
    tool_calls: int


class FamilyResult(msgspec.Struct, frozen=True):
    """``right`` of ``n`` tasks; ``accuracy`` is their ratio."""

    accuracy: float
    n: int
    right: int


class EvalReport(msgspec.Struct, frozen=True):
    """What ``--json`` writes."""

    accuracy: float
    n: int
    families: dict[str, FamilyResult]
    model: str
    tasks: tuple[TaskResult, ...]


def run_eval(name: str, n: int | None, json_path: Path | None) -> int:
    """Run the first ``n`` tasks of ``name`` greedily (all without ``n``); print and write the
    report; 0 if every task could be run, 1 if some turn failed.

    Tool calls are allowed unasked; each task has a folder of its own below a temporary one.
    Raises ConfigError ``no_eval`` and what starting the engine raises.
    """
    try:
        tasks = load_tasks(name).tasks[:n]
    except FileNotFoundError:
        raise ConfigError("no_eval", f"there are no tasks named {name}", "try: nano") from None
    with tempfile.TemporaryDirectory(prefix="selenograph-eval-") as place:
        core = Core(Paths.under(Path(place) / "data"), Settings(model=str(MODELS / name)))
        core.start()
        try:
            results = []
            for result in run_tasks(core, tasks, Path(place)):
                results.append(result)
                print(_line(len(results), len(tasks), result), file=sys.stderr, flush=True)
        finally:
            core.close()
    report = summarise(name, tuple(results))
    print(msgspec.json.encode(_without_tasks(report)).decode())
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return int(any(r.status == "failed" for r in results))


def run_tasks(core: Core, tasks: tuple[EvalTask, ...], place: Path) -> Iterator[TaskResult]:
    """Run the tasks one after the other on a started core. Blocks; not for the core's thread."""
    for task in tasks:
        folder = place / task.id
        folder.mkdir()
        for path, text in task.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        yield run_task(core, task, folder)


def run_task(core: Core, task: EvalTask, folder: Path) -> TaskResult:
    """One task as a conversation of its own."""
    settings = RunSettings(tools=task.tools, budget=BUDGET, temperature=0.0)
    conversation = core.create_conversation(task.id, str(folder)).result()
    turn_id = core.send(
        conversation, task.prompt, settings, unattended=ev.Unattended(("*",))
    ).result()
    core.wait(conversation).result()
    turn = core.open(conversation).result().turn(turn_id)
    if turn is None:
        raise SelenographError("internal", f"the turn of {task.id} is gone")
    calls = sum(len(step.tools) for step in turn.steps)
    right = turn.status == "answered" and is_right(turn.answer, task.expect)
    return TaskResult(
        task.id,
        task.family,
        right and (task.calls or calls == 0),
        turn.status,
        turn.answer,
        task.expect,
        calls,
    )


def summarise(model: str, results: tuple[TaskResult, ...]) -> EvalReport:
    """Accuracy over all tasks and per family."""
    families = {
        family: _ratio([r.right for r in results if r.family == family])
        for family in sorted({r.family for r in results})
    }
    whole = _ratio([r.right for r in results])
    return EvalReport(whole.accuracy, whole.n, families, model, results)


def _ratio(outcomes: list[bool]) -> FamilyResult:
    right = sum(outcomes)
    return FamilyResult(round(right / max(1, len(outcomes)), 4), len(outcomes), right)


def _without_tasks(report: EvalReport) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(report)
    return {key: value for key, value in plain.items() if key != "tasks"}


def _line(number: int, total: int, result: TaskResult) -> str:
    mark = "right" if result.right else "WRONG"
    tail = "" if result.right else f"  expected {list(result.expect)}, got {result.answer!r}"
    return f"{number}/{total} {mark} {result.family} ({result.status}){tail}"
