"""``selenograph doctor``: what this machine has, and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import msgspec
import psutil

from app.cli import ANSWERED, FAILED
from app.engines.models import default_model
from app.errors import StoreError
from app.paths import Paths

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("selenograph", "torch", "PySide6-Essentials", "tiktoken", "safetensors", "uvicorn")
_FLAGS = ("avx2", "fma", "f16c", "avx512f", "avx512_bf16", "avx512_vnni", "amx_int8", "amx_bf16")


class Diagnosis(msgspec.Struct, frozen=True):
    """``problems`` are what keeps the program from working here; the rest is for reports."""

    versions: dict[str, str]
    processor: str
    cores: int
    threads: int
    isa: tuple[str, ...]
    kernels: str
    """Which instruction sets the compiled kernels can use here."""
    gpus: tuple[str, ...]
    memory_bytes: int
    free_memory_bytes: int
    free_disk_bytes: int
    data: str
    config: str
    logs: str
    model: str
    display: str
    problems: tuple[str, ...]


def doctor(data: Path | None, *, as_json: bool) -> int:
    """Exit code 0 when nothing is in the way, 1 otherwise."""
    found = diagnose(Paths.under(data) if data else Paths.default())
    print(msgspec.json.encode(found).decode() if as_json else as_text(found))
    return FAILED if found.problems else ANSWERED


def diagnose(paths: Paths) -> Diagnosis:
    """Look at everything; nothing is changed but that missing folders are made."""
    problems: list[str] = []
    try:
        paths.make()
    except StoreError as error:
        problems.append(str(error))
    kernels = _kernels()
    if not kernels:
        problems.append("no_kernels: the compiled kernels cannot be loaded (run make setup)")
    model = default_model()
    if not (model / "config.json").is_file():
        problems.append(f"no_model: the embedded model is missing at {model}")
    versions = _versions()
    problems += [f"no_package: {name} is not installed" for name, v in versions.items() if not v]
    memory = psutil.virtual_memory()
    return Diagnosis(
        versions=versions,
        processor=_processor(),
        cores=psutil.cpu_count(logical=False) or 0,
        threads=psutil.cpu_count() or 0,
        isa=_isa(),
        kernels=kernels,
        gpus=_gpus(),
        memory_bytes=memory.total,
        free_memory_bytes=memory.available,
        free_disk_bytes=_free_disk(paths.data),
        data=str(paths.data),
        config=str(paths.config),
        logs=str(paths.logs),
        model=str(model),
        display=os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY") or "",
        problems=tuple(problems),
    )


def as_text(found: Diagnosis) -> str:
    """The diagnosis for people."""
    gib = 1 << 30
    free, memory = found.free_memory_bytes / gib, found.memory_bytes / gib
    lines = [
        "versions   " + ", ".join(f"{k} {v or '(missing)'}" for k, v in found.versions.items()),
        f"processor  {found.processor}, {found.cores} cores, {found.threads} threads",
        f"isa        {' '.join(found.isa) or '(none of those we use)'}",
        f"kernels    {found.kernels or '(not loadable)'}",
        f"gpu        {', '.join(found.gpus) or '(none)'}",
        f"memory     {free:.1f} of {memory:.1f} GiB free",
        f"disk       {found.free_disk_bytes / gib:.1f} GiB free",
        f"data       {found.data}",
        f"settings   {found.config}",
        f"logs       {found.logs}",
        f"model      {found.model}",
        f"display    {found.display or '(none: the terminal works, the window does not)'}",
    ]
    lines += [f"problem    {problem}" for problem in found.problems] or ["all is well"]
    return "\n".join(lines)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = ""
    return versions


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n", 1)[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _processor() -> str:
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def _isa() -> tuple[str, ...]:
    flags = _cpuinfo().get("flags", "").split()
    return tuple(flag for flag in _FLAGS if flag in flags)


def _kernels() -> str:
    """Asked of a process of its own: the app does not load the engine's libraries."""
    ask = "from engine.native import _kernels; print(*_kernels.available_isas())"
    return _output([sys.executable, "-c", ask])


def _gpus() -> tuple[str, ...]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    return tuple(line for line in _output(query).splitlines() if line)


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, cwd=_ROOT, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _free_disk(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
