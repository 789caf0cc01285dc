"""The full Kimi K2 shape as sparse files: true headers, holes for weights, every layer run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from engine.bench.figures import Figure, figure
from engine.bench.first_token import first_token
from engine.bench.memory import watch
from engine.bench.options import Options
from engine.errors import ResourceError
from engine.making.shapes import read_shape
from engine.making.writer import Choice, write_model

_ROOT = Path(__file__).parents[2]
_GB = 1e9
_INSPECT_LIMIT_S, _INSPECT_LIMIT_GB = 5.0, 1.0
_LOAD_LIMIT_S = 60.0
_TOKEN_LIMIT_GB = 20.0


def sparse_figures(options: Options) -> Iterator[Figure]:
    """Of ``--sparse FOLDER``, or of a folder that is made for the purpose and removed again."""
    if options.sparse is not None:
        yield from _figures(options, options.sparse)
        return
    with tempfile.TemporaryDirectory(prefix="selenograph-") as place:
        folder = Path(place) / options.sparse_shape
        options.tell(f"writing {options.sparse_shape} as sparse files")
        began = time.perf_counter()
        write_model(read_shape(options.sparse_shape), folder, Choice(sparse=True))
        yield figure("sparse.make", time.perf_counter() - began, "s")
        yield from _figures(options, folder)


def _figures(options: Options, folder: Path) -> Iterator[Figure]:
    options.tell("sparse.inspect")
    seen = [_run(module, folder) for module in ("engine.checkpoint", "engine.placement")]
    seconds, peaks = zip(*seen, strict=True)
    yield figure(
        "sparse.inspect",
        sum(seconds),
        "s",
        "limit",
        _INSPECT_LIMIT_S,
        note=f"inspect {seconds[0]:.2f} s, then plan {seconds[1]:.2f} s, each a process",
    )
    yield figure("sparse.inspect.rss", max(peaks) / _GB, "GB", "limit", _INSPECT_LIMIT_GB)
    threads = options.threads[-1]
    options.tell("sparse.load, sparse.token")
    # One token only: each brings its own experts into memory.
    costs = first_token(folder, threads, greeting=1)
    yield figure("sparse.load", costs.load_s, "s", "limit", _LOAD_LIMIT_S, threads=threads)
    yield figure(
        "sparse.token",
        costs.peak_bytes / _GB,
        "GB",
        "limit",
        _TOKEN_LIMIT_GB,
        threads=threads,
        note="peak memory of loading and one token through every layer; the token took "
        f"{costs.first_token_s - costs.load_s:.1f} s",
    )


def _run(module: str, folder: Path) -> tuple[float, int]:
    """Seconds and peak bytes of one of the engine's commands on a folder."""
    command = [sys.executable, "-m", module, str(folder.absolute()), "--json"]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=said)
        peak = watch(process)
        said.seek(0)
        text = said.read().decode(errors="replace")
    # 1 without a word: the answer is no, e.g. that the model does not fit; that too is an answer.
    if process.returncode not in (0, 1) or text:
        raise ResourceError("bench_failed", f"{module} failed: {text.strip()[-200:]}")
    return time.perf_counter() - began, peak
