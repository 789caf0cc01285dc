"""What it takes to judge a call and a result after hundreds of long results."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from app.events import RunSettings
from app.guard.secrets import find_secrets
from app.state import Step, ToolRun, Turn
from app.tools.base import Target
from app.trust.call import Wanted
from app.trust.origins import Origins

_WORDS = 16_000
_FOLDER = "/home/ada/work"


def judging(results: int, characters: int = 96_000) -> dict[str, Any]:
    """Milliseconds of a call's targets (a command, a new file, a host), of taking a result, and of
    the search for secrets in one.
    """
    words = [f"w{n * n % 99_991}" for n in range(_WORDS)]
    origins = Origins(lambda name: True)
    steps: list[Step] = []
    calls: list[float] = []
    takes: list[float] = []
    searches: list[float] = []
    wrong: list[str] = []
    for n in range(results):
        page = " ".join((*words[n:], *words[:n]))[:characters]
        tool = ToolRun(f"c{n}", "open_page", "{}", 1.0, status="ok", result=page)
        steps.append(Step(n, f"s{n}", 1.0, tools=(tool,), ended=1.0))
        path = (Turn("t", None, "Look around.", RunSettings(), 1.0, tuple(steps)),)
        call = Wanted(
            "shell",
            "execute",
            {},
            (
                Target("command", f"git log --author=ada{n} && make part{n} | tail"),
                Target("path", f"{_FOLDER}/new{n}.txt"),
                Target("host", "example.org"),
            ),
            _FOLDER,
        )
        times = [time.perf_counter()]
        origins.strange(Wanted("read_file", "none", {}), path, "", "")
        times.append(time.perf_counter())
        found = origins.strange(call, path, "", "")
        times.append(time.perf_counter())
        secrets = find_secrets(page)
        times.append(time.perf_counter())
        for kept, began, ended in zip((takes, calls, searches), times, times[1:], strict=False):
            kept.append((ended - began) * 1e3)
        if secrets or [target.kind for target in found] != ["host"]:
            wrong.append(f"the call {n} was judged wrongly")
    return {
        "results": results,
        "characters": characters,
        "faults": wrong,
        "step10_call_ms": round(median(calls[4:16]), 3),
        "last_call_ms": round(median(calls[-12:]), 3),
        "result_ms": round(median(takes), 3),
        "secrets_ms": round(median(searches), 3),
    }
