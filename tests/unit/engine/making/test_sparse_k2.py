"""The real shape of Kimi K2 Thinking: 61 layers, 384 experts, 594 GB that take 50 MB of disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine.making.shapes import read_shape
from engine.making.writer import Choice, write_model
from engine.model.deepseek import Batch
from engine.model.loader import load_model

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def k2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sparse") / "k2"
    return write_model(read_shape("k2-thinking"), out, Choice(sparse=True))


def test_it_is_whole_and_takes_neither_disk_nor_much_memory(k2: Path) -> None:
    """The report needs no tensor library, which would cost more than the report itself."""
    program = (
        "import re, sys; from pathlib import Path\n"
        "from engine.checkpoint.report import inspect_folder\n"
        "report = inspect_folder(Path(sys.argv[1]))\n"
        "assert report.complete, report.problems\n"
        "assert 'torch' not in sys.modules\n"
        "print(report.total_bytes, report.bytes_by_part['experts'])\n"
        # Not getrusage, whose peak a new program inherits from the one that started it.
        "status = Path('/proc/self/status').read_text()\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', status)[1])\n"
    )
    command = [sys.executable, "-c", program, str(k2)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    total, experts, kibibytes = map(int, done.stdout.split())
    assert total == pytest.approx(594e9, rel=0.01)
    assert experts == 60 * 384 * 3 * (2048 * 7168 * 9 // 16 + 8)
    assert kibibytes < 1 << 20
    assert sum(p.stat().st_blocks for p in k2.iterdir()) * 512 < 100 << 20


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_loads_and_computes_a_token(k2: Path) -> None:
    model = load_model(k2, experts="native", threads=2)
    try:
        assert model.dtype == torch.bfloat16
        logits = model.forward(Batch([(model.new_cache(16), [7])]))
    finally:
        model.close()
    assert logits.shape == (1, 163_840)
    assert (logits == 0).all()  # holes read as zero
