"""kt-kernel's process as our benchmarks see it: a thing that has a speed."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

from engine.bench.shapes import LayerShape
from engine.errors import ResourceError

Method = Literal["RAWINT4", "Q4_0", "Q4_K"]
METHODS: tuple[Method, ...] = ("RAWINT4", "Q4_0", "Q4_K")
_SCRIPT = Path(__file__).parent / "kt_kernel.py"


class KtKernel:
    """A running driver. Between its turns it is stopped: its dispatcher spins even when idle."""

    def __init__(self, process: subprocess.Popen[str], log: IO[str]) -> None:
        self._process, self._log = process, log
        self.version = str(self._read()["version"])
        process.send_signal(signal.SIGSTOP)

    def passes_per_second(self, tokens: int, seconds: float) -> float:
        """Forward passes over `tokens` tokens a second. Raises ResourceError ``peer_failed``."""
        self._process.send_signal(signal.SIGCONT)
        done = self._ask({"tokens": tokens, "seconds": seconds})
        self._process.send_signal(signal.SIGSTOP)
        return float(done["calls"]) / float(done["seconds"])

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        # When it has ended, reading says why.
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._log.seek(0)
        said = self._log.read().strip().splitlines() or ["(nothing)"]
        raise ResourceError("peer_failed", f"kt-kernel's process ended: {said[-1]}")


@contextmanager
def kt_kernel(
    python: Path, method: Method, shape: LayerShape, experts: int, threads: int
) -> Iterator[KtKernel]:
    """Start the driver with the Python that has kt-kernel; ends it afterwards.

    Raises ResourceError ``peer_failed`` when that Python, the package or the kernel is missing.
    """
    sizes = {
        "experts": experts,
        "hidden": shape.hidden,
        "inner": shape.inner,
        "top-k": shape.top_k,
        "threads": threads,
    }
    # Isolated: the driver's own folder must not be where `kt_kernel` is looked for.
    command = [str(python), "-I", str(_SCRIPT), "--method", method]
    command += [word for name, size in sizes.items() for word in (f"--{name}", str(size))]
    with tempfile.TemporaryFile("w+") as log:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        except OSError as error:
            raise ResourceError("peer_failed", f"{python} does not start: {error}") from error
        try:
            yield KtKernel(process, log)
        finally:
            process.kill()
            process.communicate()
