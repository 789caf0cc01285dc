"""The accelerator's path against the processor's. Runs wherever torch finds CUDA."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.experts.accelerator import AcceleratorDevice, find_accelerator
from engine.experts.assembly import ExpertOptions
from engine.experts.timeline import Timeline
from engine.model.deepseek import Batch, Model
from engine.model.layers import SwiGLU
from engine.model.loader import load_model
from engine.tiny import TinyShape, write_tiny

pytestmark = pytest.mark.gpu
SUMS = 1e-3
"""Float32 on both sides, summed in other orders over three layers; logits spread about one."""
ROUNDED = 0.1
"""Experts in bf16 (2^-9 a rounding), relative to the spread of the logits."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny"), seed=4, shape=TinyShape(layers=4))


@pytest.fixture
def device() -> Iterator[AcceleratorDevice]:
    place = find_accelerator()
    assert place is not None
    device = AcceleratorDevice(place, Timeline(limit=100))
    yield device
    device.close()


def _logits(folder: Path, options: ExpertOptions, passes: int = 1) -> Tensor:
    model = load_model(folder, torch.float32, "reference", options=options)
    try:
        for _ in range(passes - 1):
            _run(model)
        return _run(model)
    finally:
        model.close()


def _run(model: Model) -> Tensor:
    rng = torch.Generator().manual_seed(2)
    ids = torch.randint(0, model.config.vocab_size, (40,), generator=rng).tolist()
    cache = model.new_cache()
    rows = [model.forward(Batch([(cache, ids[:32])]), all_logits=True)]
    rows += [model.forward(Batch([(cache, [i])])) for i in ids[32:]]
    return torch.cat(rows)


def test_logits_are_the_processor_s(folder: Path) -> None:
    right = _logits(folder, ExpertOptions(device="cpu"))
    assert (_logits(folder, ExpertOptions(on_gpu=0)) - right).abs().max() <= SUMS


@pytest.mark.parametrize(
    "options", [ExpertOptions(on_gpu=0, stream_from=1), ExpertOptions(on_gpu=12)]
)
def test_experts_on_the_device_differ_by_rounding(folder: Path, options: ExpertOptions) -> None:
    right = _logits(folder, ExpertOptions(device="cpu"))
    # Hot experts are looked for after 64 steps; a pass has nine.
    error = (_logits(folder, options, passes=9) - right).pow(2).mean().sqrt() / right.std()
    assert error <= ROUNDED


def test_a_recorded_graph_gives_what_the_function_gives(device: AcceleratorDevice) -> None:
    rng = torch.Generator().manual_seed(1)
    gate, up, down = (
        (torch.randn(shape, generator=rng) / 8).to(device.place)
        for shape in ((96, 64), (96, 64), (64, 96))
    )
    plain = SwiGLU(gate, up, down)
    replayed = device.static(plain)
    for count in (1, 4, 1, 4, 30, 1):
        x = torch.randn(count, 64, generator=rng).to(device.place)
        torch.testing.assert_close(replayed(x), plain(x))


def test_copies_see_what_was_computed_before(device: AcceleratorDevice) -> None:
    x = torch.ones(1 << 22, device=device.place)
    for _ in range(20):
        x = device.compute("double", lambda x=x: x * 2).value()
    host = device.host_bytes(x.nbytes).view(torch.float32)
    device.copy("home", lambda: host.copy_(x, non_blocking=True)).wait()
    assert bool((host == 2.0**20).all())
    device.resolve_spans()
    spans = [s for s in device.timeline.spans() if s.who == "compute"]
    assert len(spans) == 20
    assert all(a.end <= b.end and a.begin <= a.end for a, b in itertools.pairwise(spans))
