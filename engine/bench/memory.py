"""The most memory that a process has had.

Not from getrusage: there Linux lets a new process begin with the peak of the one that started it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

_POLL_SECONDS = 0.02


def peak_bytes(process: int | str = "self") -> int:
    """Peak resident bytes of a process by number, mapped files included; 0 when it has gone."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def watch(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process; the peak that it was last seen with."""
    peak = 0
    while True:
        peak = max(peak, peak_bytes(process.pid))
        try:
            process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return peak
