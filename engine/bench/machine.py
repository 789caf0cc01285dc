"""What has to be known about the machine to read a figure taken on it."""

from __future__ import annotations

import datetime
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import msgspec
import psutil

from engine.bench.figures import Figure
from engine.native import _kernels

_ROOT = Path(__file__).parents[2]
RESULTS = _ROOT / "docs" / "benchmarks.jsonl"
_FLAGS = (
    "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "amx_int8", "amx_bf16", "asimddp", "i8mm",
)  # fmt: skip


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Processor, memory and versions; nothing that names a person or a host."""

    processor: str
    cores: int
    threads: int
    flags: tuple[str, ...]
    isas: tuple[str, ...]
    memory_gib: float
    cache_mib: float
    system: str
    python: str
    torch: str
    revision: str


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as a line of docs/benchmarks.jsonl."""

    at: str
    what: str
    machine: Machine
    figures: tuple[Figure, ...]


def describe() -> Machine:
    """This machine, now."""
    info = _cpuinfo()
    flags = (info.get("flags") or info.get("Features") or "").split()
    return Machine(
        processor=info.get("model name") or platform.processor() or platform.machine(),
        cores=psutil.cpu_count(logical=False) or 0,
        threads=psutil.cpu_count() or 0,
        flags=tuple(f for f in _FLAGS if f in flags),
        isas=tuple(_kernels.available_isas()),
        memory_gib=round(psutil.virtual_memory().total / (1 << 30), 1),
        cache_mib=_last_cache(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        torch=metadata.version("torch"),
        revision=_revision(),
    )


def record(what: str, figures: tuple[Figure, ...], path: Path = RESULTS) -> None:
    """Append a run to the file of results."""
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    line = msgspec.json.encode(Record(at=at, what=what, machine=describe(), figures=figures))
    with path.open("ab") as file:
        file.write(line + b"\n")


def recorded(path: Path = RESULTS) -> list[Record]:
    """Every run so far, oldest first."""
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=Record) for line in path.read_bytes().splitlines()]


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n", 1)[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _last_cache() -> float:
    """MiB of the largest cache of the first core; 0 where the system does not say."""
    sizes = [0.0]
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = file.read_text().strip()
        if text.endswith("K") and text[:-1].isdigit():
            sizes.append(int(text[:-1]) / 1024)
    return max(sizes)


def _revision() -> str:
    """The commit, marked when files differ from it; empty outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(
            command, cwd=_ROOT, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
