"""``python -m engine.bench.first_token FOLDER``: the costs of loading and of a first token.

A process of its own, so that its memory is the model's alone. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil

from engine.bench.memory import peak_bytes
from engine.bench.options import DenseForm
from engine.errors import ResourceError

_ROOT = Path(__file__).parents[2]
_GREETING = 16
"""Tokens of a short prompt."""


class Costs(msgspec.Struct, frozen=True):
    """Seconds and bytes of a fresh process."""

    load_s: float
    first_token_s: float
    """From the order to load to the first token of a short prompt."""
    process_s: float
    """The same from the start of the process."""
    loaded_bytes: int
    """Resident after loading."""
    peak_bytes: int
    """The most that was ever resident, mapped files included, also during the prompt."""


def first_token(
    folder: Path,
    threads: int,
    prompt: int = 0,
    greeting: int = _GREETING,
    dense: DenseForm = "auto",
) -> Costs:
    """Start the process and wait for what it says. Raises ResourceError ``bench_failed``."""
    command = [sys.executable, "-m", "engine.bench.first_token", str(folder.absolute())]
    command += [f"--threads={threads}", f"--prompt={prompt}", f"--greeting={greeting}"]
    command.append(f"--dense={dense}")
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["(nothing)"]
        raise ResourceError("bench_failed", f"loading in a fresh process failed: {said[-1]}")
    return msgspec.json.decode(done.stdout, type=Costs)


def main() -> int:
    """Load and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--prompt", type=int, default=0)
    parser.add_argument("--greeting", type=int, default=_GREETING)
    parser.add_argument("--dense", default="auto")
    args = parser.parse_args()
    from engine.bench.session import session
    from engine.model.loader import KernelOptions

    began, process = time.perf_counter(), psutil.Process()
    started = process.create_time() - time.time() + began
    with session(args.folder, args.threads, KernelOptions(dense=args.dense)) as model:
        loaded = time.perf_counter()
        resident = process.memory_info().rss
        first = model.reply(args.greeting, 1).tokens[0]
        if args.prompt:
            model.reply(args.prompt, 1)
        costs = Costs(
            load_s=loaded - began,
            first_token_s=first - began,
            process_s=first - started,
            loaded_bytes=resident,
            peak_bytes=peak_bytes(),
        )
    print(json.dumps(msgspec.to_builtins(costs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
