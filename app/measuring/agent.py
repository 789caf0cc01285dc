"""``selenograph bench agent``: what a step costs beside the model, what it takes to judge a call,
what kills and stops cost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from app import events as ev
from app.events import Event
from app.measuring.judging import judging
from app.measuring.long_run import LongRun, faults
from app.measuring.record import RESULTS, record
from app.measuring.stopping import stops
from app.state import Turn

_TOOL_SECONDS = 0.003
"""So that a kill meets running tools, too."""
_LONGEST_LIFE = 0.35
_LANES, _LANE_STEPS = 4, 40
_PATIENCE = 900.0


def overhead(folder: Path, steps: int) -> dict[str, Any]:
    """Milliseconds per step of journal, state, history and policy, together with tool and scripted
    model, and the processor's time without the model. Memory in MB.
    """
    times: list[float] = []
    cpu: list[float] = []
    memory: dict[int, float] = {}
    process = psutil.Process()

    async def run() -> tuple[list[str], int, int]:
        long = LongRun(folder, steps)
        acting = False

        def hear(event: Event) -> None:
            nonlocal acting
            if isinstance(event.body, ev.StepBegin):
                acting = event.body.purpose == "act"
            elif isinstance(event.body, ev.StepEnd) and acting:
                times.append(time.perf_counter())
                cpu.append(time.process_time() - long.model.spent)
                if len(times) in (steps // 3, steps):
                    memory[len(times)] = process.memory_info().rss / 1e6

        long.bus.subscribe(hear)
        turn = await long.finish()
        stored = long.journal.events(long.id)
        wrong = faults(turn, stored, long.ledger, steps)
        hidden = sum(isinstance(event.body, ev.ContextHidden) for event in stored)
        notes = sum(isinstance(event.body, ev.ContextSummarised) for event in stored)
        await long.close()
        return wrong, hidden, notes

    wrong, hidden, notes = asyncio.run(run())
    wall, processor = _between(times), _between(cpu)
    early, late = median(processor[4:16]), median(processor[-12:])
    return {
        "steps": steps,
        "faults": wrong,
        "step10_ms": round(median(wall[4:16]), 2),
        "last_ms": round(median(wall[-12:]), 2),
        "step10_cpu_ms": round(early, 2),
        "last_cpu_ms": round(late, 2),
        "ratio_cpu": round(late / early, 2),
        "worst_cpu_ms": round(max(processor), 2),
        "hidings": hidden,
        "notes": notes,
        "memory_mb": {str(step): round(size, 1) for step, size in memory.items()},
        "database_mb": round((folder / "conversations.db").stat().st_size / 1e6, 1),
    }


def _between(times: list[float]) -> list[float]:
    """From the end of a step to the end of the next, in ms, so that what is between them counts."""
    return [(after - before) * 1e3 for before, after in pairwise(times)]


def kills(folder: Path, steps: int, wanted: int, seed: int, lanes: int = 0) -> dict[str, Any]:
    """Runs whose process is killed at random moments, until there were ``wanted`` kills.

    ``lanes``: of heavy runs, each of which takes all the steps.
    """
    chance = random.Random(seed)
    done = runs = unknown = 0
    wrong: list[str] = []
    longest = _LONGEST_LIFE * (2 if lanes else 1)
    while done < wanted:
        place = folder / f"run{runs}"
        place.mkdir()
        runs += 1
        finished: list[str] = []
        while True:
            life = chance.uniform(0.0, longest) if done < wanted else _PATIENCE
            ended, spans = _live(place, steps, life, lanes)
            finished += spans
            if ended:
                break
            done += 1
        turn, stored = _read(place, steps, lanes)
        wrong += faults(turn, stored, place / "ledger", steps, lanes=lanes)
        all_steps = [step for one in (turn, *turn.lanes) for step in one.steps]
        kept = {step.span for step in all_steps}
        wrong += [f"the finished step {span} is gone" for span in finished if span not in kept]
        unknown += sum(tool.status == "unknown" for s in all_steps for tool in s.tools)
    found = {"kills": done, "runs": runs, "steps": steps, "faults": wrong, "unknown": unknown}
    return found | ({"lanes": lanes} if lanes else {})


def _live(folder: Path, steps: int, life: float, lanes: int) -> tuple[bool, list[str]]:
    """One process from where the last left it: whether it came to the end, and the steps it
    finished.
    """
    command = [sys.executable, "-m", "app.measuring.agent", str(folder), str(steps), str(lanes)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    out = child.stdout
    text = b""
    deadline: float | None = None
    until = time.monotonic() + _PATIENCE
    try:
        while True:
            now = time.monotonic()
            if deadline is None and b"ready\n" in text:
                deadline = now + life
            if deadline is not None and now >= deadline:
                child.send_signal(signal.SIGKILL)
                break
            if now > until + life:
                raise TimeoutError("the child is silent")
            wait = 0.2 if deadline is None else max(0.0, min(0.2, deadline - now))
            if select.select([out], [], [], wait)[0]:
                chunk = os.read(out.fileno(), 65536)
                if not chunk:
                    break
                text += chunk
    finally:
        if child.poll() is None:
            child.kill()
        text += out.read()
        out.close()
        code = child.wait()
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the process ended by itself with code {code}")
    lines = text.decode().split("\n")[:-1]
    return "end" in lines, [line[5:] for line in lines if line.startswith("step ")]


def _read(folder: Path, steps: int, lanes: int) -> tuple[Turn, tuple[Event, ...]]:
    long = LongRun(folder, steps, lanes=lanes)
    turn, stored = long.state.turns[0], long.journal.events(long.id)
    asyncio.run(long.close())
    return turn, stored


async def _child(folder: Path, steps: int, lanes: int) -> None:
    print("ready", flush=True)
    long = LongRun(folder, steps, _TOOL_SECONDS, lanes=lanes)

    def hear(event: Event) -> None:
        if isinstance(event.body, ev.StepEnd):
            print(f"step {event.span}", flush=True)

    long.bus.subscribe(hear)
    await long.finish()
    print("end", flush=True)
    await long.close()


def main(words: Sequence[str]) -> int:
    """The exit code: 0 if nothing went wrong."""
    parser = argparse.ArgumentParser(prog="selenograph bench agent", description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--kills", type=int, default=200, help="0: do not kill anything")
    parser.add_argument("--stops", type=int, default=80, help="0: do not stop anything")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help=f"append to docs/{RESULTS.name}")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args(words)
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "overhead").mkdir()
        figures["overhead"] = first = overhead(folder / "overhead", arguments.steps)
        figures["judging"] = judged = judging(arguments.steps)
        wrong = [*first["faults"], *judged["faults"]]
        if arguments.kills:
            killed = kills(folder, arguments.steps, arguments.kills, arguments.seed)
            figures["kills"] = killed
            wrong += killed["faults"]
            (folder / "lanes").mkdir()
            count = max(1, arguments.kills // 4)
            killed = kills(folder / "lanes", _LANE_STEPS, count, arguments.seed, _LANES)
            figures["lane_kills"] = killed
            wrong += killed["faults"]
        if arguments.stops:
            (folder / "stops").mkdir()
            stopped = stops(folder / "stops", arguments.stops, arguments.seed)
            figures["stops"] = stopped
            wrong += stopped["faults"]
    if arguments.record:
        record(figures)
    if arguments.json:
        print(json.dumps(figures))
    else:
        for part, values in figures.items():
            print(part)
            for key, value in values.items():
                print(f"  {key:<16}{value}")
    return 1 if wrong else 0


if __name__ == "__main__":
    asyncio.run(_child(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
