"""Measuring: limits of containers as files tell them, disks, and this machine as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from engine.placement import disk
from engine.placement.disk import read_rate
from engine.placement.hardware import as_json, read_hardware
from engine.placement.limits import MemoryLimit, cpu_limit, memory_limit
from engine.placement.probe import thread_counts
from engine.placement.report import find_machine

ROOT = Path(__file__).parents[4]


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


# -- containers


def test_no_groups_no_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) is None
    assert cpu_limit(tmp_path) is None


def test_the_tightest_group_counts_and_page_cache_is_free(tmp_path: Path) -> None:
    groups = "sys/fs/cgroup"
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/box/job",
            f"{groups}/box/memory.max": "4000",
            f"{groups}/box/memory.current": "3000",
            f"{groups}/box/memory.stat": "anon 500\nfile 2500",
            f"{groups}/box/job/memory.max": "max",
            f"{groups}/box/job/cpu.max": "max 100000",
            f"{groups}/box/cpu.max": "150000 100000",
        },
    )
    assert memory_limit(tmp_path) == MemoryLimit(limit=4000, free=3500)
    assert cpu_limit(tmp_path) == 2


def test_inside_a_container_the_path_may_be_the_hosts(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/kubepods/pod7/abc",
            "sys/fs/cgroup/memory.max": "1000",
            "sys/fs/cgroup/memory.current": "5000",
        },
    )
    assert memory_limit(tmp_path) == MemoryLimit(limit=1000, free=0)


def test_version_1(tmp_path: Path) -> None:
    here = "sys/fs/cgroup/memory/job"
    write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/job\n1:cpu,cpuacct:/job\n0::/",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            f"{here}/memory.limit_in_bytes": "8000",
            f"{here}/memory.usage_in_bytes": "6000",
            f"{here}/memory.stat": "cache 10\ntotal_cache 1000",
            "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    )
    assert memory_limit(tmp_path) == MemoryLimit(limit=8000, free=3000)
    assert cpu_limit(tmp_path) == 3


# -- disks


def big(folder: Path, size: int = 24 << 20) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(os.urandom(1 << 20) * (size >> 20))
    return path


def test_a_folders_own_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big(tmp_path)
    # There is nowhere to put a sample, so that only the folder's file can be the source.
    monkeypatch.setattr(disk.tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert read_rate(tmp_path, 0.05) > 1e6
    assert read_rate(None, 0.05) == disk.UNKNOWN


def test_holes_are_not_taken_for_a_fast_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(os.urandom(4096))
        file.truncate(8 << 30)
    monkeypatch.setattr(disk.tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert read_rate(tmp_path, 0.05) == disk.UNKNOWN


def test_the_sample_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk.tempfile, "tempdir", str(tmp_path))
    assert read_rate(None, 0.05) > 1e6
    assert list(tmp_path.iterdir()) == []


# -- the machine


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))]
)
def test_thread_counts_end_with_all_cores(cores: int, counts: tuple[int, ...]) -> None:
    assert thread_counts(cores) == counts


def test_this_machine_can_be_described(tmp_path: Path) -> None:
    found = find_machine("")
    assert found.name == "this machine"
    path = tmp_path / "here.json"
    path.write_text(as_json(found))
    assert read_hardware(path) == found
    assert found.memory_gib == pytest.approx(psutil.virtual_memory().total / (1 << 30))
    assert found.threads == thread_counts(found.cores)
    assert set(found.int8_gops) == set(found.read_gb_per_s)


def test_planning_does_not_load_torch() -> None:
    code = (
        "import sys, engine.placement.report as r; from engine.protocol import PlanRequest;"
        "r.answer(PlanRequest('nano', 'laptop-16gb')); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
