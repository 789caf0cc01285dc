"""llama.cpp's own benchmark program, run for one turn."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from engine.errors import ResourceError

_LONGEST = 1800.0


def tokens_per_second(
    program: Path, gguf: Path, threads: int, samples: int, *, prompt: int = 0, tokens: int = 0
) -> list[float]:
    """Of reading a prompt, or of writing tokens: so many samples, after a warm-up.

    Raises ResourceError ``peer_failed`` when the program or the file cannot be used.
    """
    command = [
        *(str(program), "-m", str(gguf), "-t", str(threads), "-r", str(samples), "-o", "json"),
        *("-p", str(prompt), "-n", str(tokens)),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST, check=True)
        (result,) = json.loads(done.stdout)
        return [float(speed) for speed in result["samples_ts"]]
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or ["(nothing)"]
        raise ResourceError("peer_failed", f"llama-bench ended: {said[-1]}") from error
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        raise ResourceError("peer_failed", f"llama-bench cannot be run: {error}") from error
