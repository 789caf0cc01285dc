"""``selenograph eval``: tasks through the agent core, engine and tools, and a report to compare.

The tasks are a model's held-out set (``nano``) or a suite of one's own (:mod:`app.suites`).
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from app import events as ev
from app.core import Core
from app.errors import ConfigError, SelenographError
from app.eval_tasks import EvalTask, load_tasks
from app.events import RunSettings
from app.guard.custom import TrustedFolder
from app.paths import Paths
from app.settings import Settings, load_settings
from app.suites import Task, as_task, load_suite, wrong

MODELS = Path(__file__).parents[1] / "resources" / "models"


class TaskResult(msgspec.Struct, frozen=True):
    """How one task went. ``status`` is the turn's; ``why``: what was not right."""

    id: str
    family: str
    right: bool
    status: str
    answer: str
    expect: tuple[str, ...]
    tool_calls: int
    why: str = ""
    steps: int = 0
    tokens: int = 0
    """Completion tokens."""
    seconds: float = 0.0


class FamilyResult(msgspec.Struct, frozen=True):
    """``right`` of ``n`` tasks; ``accuracy`` is their ratio."""

    accuracy: float
    n: int
    right: int


class EvalReport(msgspec.Struct, frozen=True):
    """What ``--json`` writes. ``interval``: of the accuracy, 95 %, after Wilson. Steps, tokens and
    seconds are means over the tasks.
    """

    accuracy: float
    n: int
    families: dict[str, FamilyResult]
    model: str
    tasks: tuple[TaskResult, ...]
    interval: tuple[float, float] = (0.0, 1.0)
    steps: float = 0.0
    tokens: float = 0.0
    seconds: float = 0.0


def run_eval(
    name: str,
    n: int | None,
    json_path: Path | None,
    *,
    compare: Path | None = None,
    endpoint: str = "",
    model: Path | None = None,
    data: Path | None = None,
) -> int:
    """Run the first ``n`` tasks of a set or a JSONL file; print and write the report; 0 if every
    task could be run, 1 if some turn failed.

    Each task has a folder of its own below a temporary one; nobody is asked, and what a task does
    not allow is denied. Raises ConfigError ``no_eval``, ``bad_suite``, ``bad_report``, and what
    starting the engine raises.
    """
    tasks, weights = _tasks(name, model)
    before = _read_report(compare) if compare is not None else None
    own = Paths.under(data) if data is not None else Paths.default()
    settings = Settings(model=str(weights) if weights else "")
    if endpoint:
        settings = msgspec.structs.replace(load_settings(own.settings)[0], window=settings.window)
    with tempfile.TemporaryDirectory(prefix="selenograph-eval-") as place:
        core = Core(Paths.under(Path(place) / "data"), settings)
        core.start()
        try:
            results = []
            run = run_tasks(core, tasks[:n], Path(place), endpoint or "local", own.guards)
            for result in run:
                results.append(result)
                print(_line(len(results), len(tasks[:n]), result), file=sys.stderr, flush=True)
        finally:
            core.close()
    report = summarise(endpoint or (weights.name if weights else name), tuple(results))
    print(msgspec.json.encode(_without_tasks(report)).decode())
    if before is not None:
        print(compared(before, report), file=sys.stderr)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return int(any(r.status == "failed" for r in results))


def run_tasks(
    core: Core,
    tasks: Iterable[EvalTask | Task],
    place: Path,
    backend: str = "local",
    trusted: Path | None = None,
) -> Iterator[TaskResult]:
    """Run the tasks one after the other on a started core. Blocks; not for the core's thread.

    ``trusted``: the folder of Python checkers; None: the core's own.
    """
    checkers = TrustedFolder(trusted or core.paths.guards)
    for number, one in enumerate(tasks):
        task = as_task(one) if isinstance(one, EvalTask) else one
        folder = place / (one.id if isinstance(one, EvalTask) else f"task{number}")
        folder.mkdir()
        for path, text in task.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        yield run_task(core, task, folder, backend, checkers)


def run_task(
    core: Core, task: Task, folder: Path, backend: str, checkers: TrustedFolder
) -> TaskResult:
    """One task as a conversation of its own."""
    settings = RunSettings(
        backend=backend,
        tools=task.tools,
        budget=task.budget,
        effort=task.effort,
        temperature=task.temperature,
        system_prompt=task.system,
    )
    began = time.monotonic()
    conversation = core.create_conversation(task.id, str(folder)).result()
    scope = ev.Unattended(task.allow)
    turn_id = core.send(conversation, task.prompt, settings, unattended=scope).result()
    core.wait(conversation).result()
    turn = core.open(conversation).result().turn(turn_id)
    if turn is None:
        raise SelenographError("internal", f"the turn of {task.id} is gone")
    why = wrong(task, turn, checkers)
    return TaskResult(
        task.id,
        task.family,
        not why,
        turn.status,
        turn.answer,
        _expected(task),
        sum(len(step.tools) for step in turn.steps),
        why,
        len(turn.steps),
        sum(call.usage.completion_tokens for step in turn.steps for call in step.calls),
        round(time.monotonic() - began, 3),
    )


def summarise(model: str, results: tuple[TaskResult, ...]) -> EvalReport:
    """Accuracy over all tasks and per family."""
    families = {
        family: _ratio([r.right for r in results if r.family == family])
        for family in sorted({r.family for r in results})
    }
    whole = _ratio([r.right for r in results])
    count = max(len(results), 1)
    return EvalReport(
        whole.accuracy,
        whole.n,
        families,
        model,
        results,
        interval(whole.right, whole.n),
        round(sum(r.steps for r in results) / count, 2),
        round(sum(r.tokens for r in results) / count, 1),
        round(sum(r.seconds for r in results) / count, 3),
    )


def interval(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a share."""
    if n == 0:
        return 0.0, 1.0
    p = right / n
    middle, width = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)
    return round(low, 4), round(high, 4)


def compared(before: EvalReport, after: EvalReport) -> str:
    """What changed, task by task where both have it, and whether that could be chance."""
    old = {task.id: task for task in before.tasks}
    both = [(old[task.id], task) for task in after.tasks if task.id in old]
    won = [new.id for was, new in both if new.right and not was.right]
    lost = [new.id for was, new in both if was.right and not new.right]
    lines = [
        f"accuracy {before.accuracy:.4f} → {after.accuracy:.4f} over {len(both)} common tasks",
        f"now right: {', '.join(won[:20]) or 'none'}",
        f"now wrong: {', '.join(lost[:20]) or 'none'}",
        f"chance of so uneven a change by luck alone: {sign_test(len(won), len(lost)):.3f}",
    ]
    lines += [
        f"{what} a task: {getattr(before, what):g} → {getattr(after, what):g}"
        for what in ("steps", "tokens", "seconds")
    ]
    return "\n".join(lines)


def sign_test(won: int, lost: int) -> float:
    """Two-sided, of tasks that changed in one way or the other (McNemar's, exact)."""
    n, least = won + lost, min(won, lost)
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, k) for k in range(least + 1)) / 2**n
    return float(min(1.0, 2 * tail))


def _tasks(name: str, model: Path | None) -> tuple[tuple[EvalTask | Task, ...], Path | None]:
    """The tasks, and the model that they are for."""
    if name.endswith((".jsonl", ".json")) or "/" in name:
        return load_suite(Path(name)), model
    try:
        return load_tasks(name).tasks, model or MODELS / name
    except FileNotFoundError:
        hint = "try: nano, or a file.jsonl"
        raise ConfigError("no_eval", f"there are no tasks named {name}", hint) from None


def _read_report(path: Path) -> EvalReport:
    try:
        return msgspec.json.decode(path.read_bytes(), type=EvalReport)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError("bad_report", f"cannot read {path}: {error}") from None


def _expected(task: Task) -> tuple[str, ...]:
    values: list[Any] = [check.value for check in task.checks]
    several = (value if isinstance(value, tuple) else (value,) for value in values)
    return tuple(str(one) for some in several for one in some)


def _ratio(outcomes: list[bool]) -> FamilyResult:
    right = sum(outcomes)
    return FamilyResult(round(right / max(1, len(outcomes)), 4), len(outcomes), right)


def _without_tasks(report: EvalReport) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(report)
    return {key: value for key, value in plain.items() if key != "tasks"}


def _line(number: int, total: int, result: TaskResult) -> str:
    mark = "right" if result.right else "WRONG"
    tail = "" if result.right else f"  {result.why}; got {result.answer[:300]!r}"
    return f"{number}/{total} {mark} {result.family or result.id} ({result.status}){tail}"
