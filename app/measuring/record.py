"""Figures of the agent as a line of docs/benchmarks-agent.jsonl.

Apart from the engine's in docs/benchmarks.jsonl, which know more of the machine and are made into
tables.
"""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

_ROOT = Path(__file__).parents[2]
RESULTS = _ROOT / "docs" / "benchmarks-agent.jsonl"
LIMITS = {
    "overhead.last_cpu_ms": ("ms", 15.0),
    "overhead.ratio_cpu": ("x", 1.3),
    "judging.last_call_ms": ("ms", 1.0),
    "judging.secrets_ms": ("ms", 2.0),
    "stops.stream.worst_ms": ("ms", 100.0),
    "stops.python.worst_ms": ("ms", 2_500.0),
    "stops.stubborn python.worst_ms": ("ms", 2_500.0),
    "stops.shell.worst_ms": ("ms", 2_500.0),
}


def figures(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Every number, by its path; beside its limit, if it has one."""
    made: list[dict[str, Any]] = []

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{name}.{key}", inner)
        elif isinstance(value, list):
            add(name, len(value))
        elif isinstance(value, int | float):
            unit, limit = LIMITS.get(name, (_unit(name), None))
            figure: dict[str, Any] = {"name": name, "value": value, "unit": unit}
            if limit is not None:
                ratio = round(value / limit, 4)
                figure |= {"against": "limit", "against_value": limit, "ratio": ratio}
            made.append(figure)

    for part, values in found.items():
        add(part, values)
    return made


def _unit(name: str) -> str:
    """The last word of a name that ends in one."""
    tail = name.rpartition("_")[2]
    return {"ms": "ms", "mb": "MB"}.get(tail, "")


def line(found: dict[str, dict[str, Any]]) -> str:
    """One run on this machine; nothing that names a person or a host."""
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    machine = {
        "processor": _processor(),
        "cores": psutil.cpu_count(logical=False) or 1,
        "threads": psutil.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "revision": _revision(),
    }
    return json.dumps({"at": at, "what": "agent", "machine": machine, "figures": figures(found)})


def record(found: dict[str, dict[str, Any]], path: Path = RESULTS) -> None:
    """Append a run. Raises OSError."""
    with path.open("a") as file:
        file.write(line(found) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")


def _revision() -> str:
    command = ["git", "-C", str(_ROOT), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()
