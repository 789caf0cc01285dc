"""Task suites: JSONL files of questions, each with what tells a right answer.

One object a line: ``{"id": …, "prompt": …, "check": {"kind": "contains", "value": "…"}}``; optional
``family``, ``tools``, ``files``, ``allow`` (patterns of calls that may run, default all),
``budget``, ``effort``, ``temperature``, ``system``. ``check`` may be a list: all must hold.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path, PurePosixPath
from typing import Any

import jsonschema
import msgspec

from app.errors import ConfigError
from app.eval_tasks import NUMBER, EvalTask, holds, normalised
from app.events import Budget, Effort
from app.guard.custom import TrustedFolder
from app.state import Turn

LARGEST = 64 << 20
"""Bytes of a suite."""
DEFAULT_BUDGET = Budget(steps=12, tokens=2000, seconds=180.0)


class Exact(msgspec.Struct, frozen=True, tag_field="kind", tag="exact", forbid_unknown_fields=True):
    """The answer is one of the values; space around it and case count only if ``strict``."""

    value: str | tuple[str, ...]
    strict: bool = False


class Contains(
    msgspec.Struct, frozen=True, tag_field="kind", tag="contains", forbid_unknown_fields=True
):
    """Each value occurs as a whole token; ``a|b``: one of the two."""

    value: str | tuple[str, ...]


class Regex(msgspec.Struct, frozen=True, tag_field="kind", tag="regex", forbid_unknown_fields=True):
    """The expression is found in the answer; ``whole``: it is the answer."""

    value: str
    whole: bool = False


class Number(
    msgspec.Struct, frozen=True, tag_field="kind", tag="number", forbid_unknown_fields=True
):
    """The last number of the answer is this one, to a tolerance, relative or absolute."""

    value: float
    relative: float = 1e-6
    absolute: float = 0.0


class JsonSchema(
    msgspec.Struct, frozen=True, tag_field="kind", tag="json-schema", forbid_unknown_fields=True
):
    """The answer, or the only fenced block in it, is JSON of this schema."""

    value: dict[str, Any]


class ToolCalled(
    msgspec.Struct, frozen=True, tag_field="kind", tag="tool-called", forbid_unknown_fields=True
):
    """A tool was called and ran, with these arguments among its own, ``times`` times at least; 0:
    never. ``value`` ``*``: any tool.
    """

    value: str
    arguments: dict[str, Any] = {}
    times: int = 1


class Python(
    msgspec.Struct, frozen=True, tag_field="kind", tag="python", forbid_unknown_fields=True
):
    """``FILE.py:FUNCTION`` of the trusted folder: ``check(answer, task)``: true, or why not."""

    value: str


Check = Exact | Contains | Regex | Number | JsonSchema | ToolCalled | Python


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    prompt: str
    check: Check | tuple[Check, ...]
    family: str = ""
    tools: tuple[str, ...] = ("calculator", "python", "list_files", "read_file", "search_files")
    files: dict[str, str] = {}
    allow: tuple[str, ...] = ("*",)
    budget: Budget = DEFAULT_BUDGET
    effort: Effort = "standard"
    temperature: float | None = 0.0
    system: str = ""

    @property
    def checks(self) -> tuple[Check, ...]:
        return self.check if isinstance(self.check, tuple) else (self.check,)


def load_suite(path: Path) -> tuple[Task, ...]:
    """Raises ConfigError ``no_eval`` and ``bad_suite``, naming the line."""
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError("bad_suite", f"{path} is larger than {LARGEST >> 20} MiB")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("no_eval", f"cannot read {path}: {error}") from None
    tasks: dict[str, Task] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            task = msgspec.json.decode(line, type=Task)
            _examine(task)
        except (msgspec.DecodeError, ConfigError, re.error, jsonschema.SchemaError) as error:
            text = " ".join(str(error).split())[:300]
            raise ConfigError("bad_suite", f"{path}:{number}: {text}") from None
        if task.id in tasks:
            raise ConfigError("bad_suite", f"{path}:{number}: the id {task.id!r} is there twice")
        tasks[task.id] = task
    if not tasks:
        raise ConfigError("bad_suite", f"{path} holds no tasks")
    return tuple(tasks.values())


def as_task(old: EvalTask) -> Task:
    """A held-out task of an embedded model."""
    checks: list[Check] = [Contains(old.expect)]
    if not old.calls:
        checks.append(ToolCalled("*", times=0))
    return Task(old.id, old.prompt, tuple(checks), old.family, old.tools, old.files)


def wrong(task: Task, turn: Turn, trusted: TrustedFolder) -> str:
    """Why a run is not right; "": it is. Raises ConfigError for a checker that cannot be used."""
    if turn.status != "answered":
        return f"the run ended: {turn.status}"
    for check in task.checks:
        why = _wrong(check, task, turn, trusted)
        if why:
            return why
    return ""


def _wrong(check: Check, task: Task, turn: Turn, trusted: TrustedFolder) -> str:
    answer = turn.answer
    match check:
        case Exact(value, strict):
            same = (lambda s: s) if strict else (lambda s: normalised(s.strip()))
            right = same(answer) in {same(one) for one in _several(value)}
            return "" if right else f"not exactly {value!r}"
        case Contains(value):
            missing = [one for one in _several(value) if not holds(answer, one)]
            return f"does not contain {missing}" if missing else ""
        case Regex(value, whole):
            found = (re.fullmatch if whole else re.search)(value, answer)
            return "" if found else f"does not match {value!r}"
        case Number(value, relative, absolute):
            said = NUMBER.findall(normalised(answer))
            close = said and math.isclose(
                float(said[-1]), value, rel_tol=relative, abs_tol=absolute
            )
            return "" if close else f"the last number is {said[-1] if said else 'missing'}"
        case JsonSchema(value):
            return _against(answer, value)
        case ToolCalled():
            count = _calls(check, turn)
            right = count == 0 if check.times == 0 else count >= check.times
            return "" if right else f"{check.value} was called {count} times"
        case Python(value):
            info = {"id": task.id, "prompt": task.prompt, "family": task.family}
            try:
                said_so = trusted.function(value)(answer, info)
            except ConfigError:
                raise
            except Exception as error:
                return f"{value} failed: {type(error).__name__}: {error}"
            return "" if said_so is True else str(said_so or f"{value} says no")


def _calls(check: ToolCalled, turn: Turn) -> int:
    count = 0
    for tool in (tool for step in turn.steps for tool in step.tools):
        # A call that was not run counts where none may be made at all.
        ran = tool.status == "ok" or check.times == 0
        if check.value in ("*", tool.name) and ran and _within(check.arguments, tool.arguments):
            count += 1
    return count


def _within(wanted: dict[str, Any], arguments: str) -> bool:
    if not wanted:
        return True
    try:
        given = json.loads(arguments)
    except ValueError:
        return False
    return isinstance(given, dict) and wanted.items() <= given.items()


def _against(answer: str, schema: dict[str, Any]) -> str:
    fenced = re.findall(r"```(?:json)?\s*\n(.*?)```", answer, re.DOTALL)
    try:
        value = json.loads(fenced[0] if len(fenced) == 1 else answer)
        jsonschema.validate(value, schema)
    except (ValueError, RecursionError):
        return "the answer is not JSON"
    except jsonschema.ValidationError as error:
        return f"{error.json_path}: {error.message[:200]}"
    return ""


def _examine(task: Task) -> None:
    """What can be wrong with a task before it runs. Raises what load_suite catches."""
    if not task.id or not task.prompt.strip() or not task.checks:
        raise ConfigError("bad_suite", "a task has an id, a prompt and a check")
    for name in task.files:
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or not place.parts:
            raise ConfigError("bad_suite", f"{name!r} leads out of the task's folder")
    for check in task.checks:
        if isinstance(check, Regex):
            re.compile(check.value)
        elif isinstance(check, JsonSchema):
            jsonschema.validators.validator_for(check.value).check_schema(check.value)


def _several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value
