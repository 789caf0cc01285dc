"""Whole models with everything that can be put around their experts: logits as without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.errors import ResourceError
from engine.experts.assembly import ExpertOptions, choose_device
from engine.experts.device import Inline, ThreadDevice
from engine.experts.observed import ObservedExperts
from engine.model.deepseek import Batch, Model
from engine.model.loader import ExpertChoice, load_model
from engine.tiny import TinyShape, write_tiny

LAYERS, EXPERTS, TOP_K = 4, 8, 2
SUMS = 1e-4
"""Float32 terms added in another order, over three layers with experts."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = TinyShape(layers=LAYERS, experts=EXPERTS, top_k=TOP_K)
    return write_tiny(tmp_path_factory.mktemp("tiny"), seed=4, shape=shape)


@pytest.fixture
def plain(folder: Path) -> Iterator[Model]:
    model = load_model(folder, torch.float32, "reference")
    yield model
    model.close()


def _logits(model: Model) -> Tensor:
    """A prompt and eight single tokens after it, all logits."""
    rng = torch.Generator().manual_seed(2)
    ids = torch.randint(0, model.config.vocab_size, (40,), generator=rng).tolist()
    cache = model.new_cache()
    rows = [model.forward(Batch([(cache, ids[:32])]), all_logits=True)]
    rows += [model.forward(Batch([(cache, [i])])) for i in ids[32:]]
    return torch.cat(rows)


def _observed(model: Model) -> ObservedExperts:
    assert isinstance(model.experts, ObservedExperts)
    return model.experts


@pytest.mark.parametrize(
    "options",
    [
        ExpertOptions(device="thread"),
        ExpertOptions(device="thread", stream_from=16, stream_bytes=1 << 16),
        ExpertOptions(device="thread", stream_from=1),
        ExpertOptions(trace_rows=100),
    ],
    ids=["thread", "streamed prompt", "all streamed", "traced"],
)
def test_the_same_bits(folder: Path, plain: Model, options: ExpertOptions) -> None:
    model = load_model(folder, torch.float32, "reference", options=options)
    assert torch.equal(_logits(model), _logits(plain))
    model.close()


@pytest.mark.parametrize("experts", ["reference", "native"])
@pytest.mark.parametrize(
    "options",
    [
        ExpertOptions(ram_bytes=100_000, read_ahead="on"),
        ExpertOptions(ram_bytes=100_000, policy="lru", device="thread", read_ahead="off"),
        ExpertOptions(ram_bytes=100_000, reading="direct"),
        ExpertOptions(device="thread", on_gpu=5),
        ExpertOptions(device="thread", on_gpu=9, ram_bytes=80_000, stream_from=20),
        ExpertOptions(
            device="thread", on_gpu=9, ram_bytes=80_000, stream_from=20, reading="direct"
        ),
    ],
    ids=["budget", "budget and thread", "direct", "hot experts", "everything", "all and direct"],
)
def test_the_same_but_for_rounding(
    folder: Path, plain: Model, options: ExpertOptions, experts: ExpertChoice
) -> None:
    try:
        model = load_model(folder, torch.float32, experts, options=options)
    except ResourceError as error:
        assert (error.code, options.reading) == ("unsupported", "direct")
        pytest.skip(str(error))
    for _ in range(2):  # the second time with what the first has brought
        assert (_logits(model) - _logits(plain)).abs().max() <= SUMS
    snapshot = _observed(model).stats.snapshot()
    assert snapshot.tokens == 80
    total = 80 * TOP_K * (LAYERS - 1)
    assert sum(snapshot.tier_hits) == total
    if options.ram_bytes:
        assert snapshot.tier_hits[2] > 0
    if options.read_ahead != "auto":
        assert snapshot.predicted >= snapshot.predicted_right
        assert (snapshot.predicted > 0) == (options.read_ahead == "on")
    model.close()


def test_hot_experts_move_over_after_a_while(folder: Path, plain: Model) -> None:
    options = ExpertOptions(device="thread", on_gpu=6)
    model = load_model(folder, torch.float32, "reference", options=options)
    for _ in range(9):  # of nine steps each: the profile is reviewed after 64
        assert (_logits(model) - _logits(plain)).abs().max() <= SUMS
    stats = _observed(model).stats
    assert stats.on_gpu.sum() == 6
    assert stats.gpu_hits > 0
    model.close()


def test_deferral_changes_logits_a_little(folder: Path, plain: Model) -> None:
    options = ExpertOptions(deferred=1)
    model = load_model(folder, torch.float32, "reference", options=options)
    moved, right = _logits(model), _logits(plain)
    assert not torch.allclose(moved, right, atol=1e-2)
    both = torch.stack((moved.flatten(), right.flatten()))
    assert torch.corrcoef(both)[0, 1] > 0.5
    model.close()


def test_a_trace_of_a_running_model(folder: Path) -> None:
    model = load_model(
        folder, torch.float32, "reference", options=ExpertOptions(trace_rows=1 << 12)
    )
    _logits(model)
    recorder = _observed(model).recorder
    assert recorder is not None
    trace = recorder.trace()
    assert len(trace) == 40 * (LAYERS - 1)
    steps = sorted({c.step for c in trace.calls()})
    assert steps == list(range(9))
    assert {c.layer for c in trace.calls()} == set(range(1, LAYERS))
    hits = _observed(model).stats.hits
    for row, layer in enumerate(range(1, LAYERS)):
        counted = torch.bincount(torch.tensor(trace.ids[trace.layer == layer]).flatten().int())
        assert counted.tolist() == hits[row].tolist()
    model.close()


def test_spans_show_both_sides(folder: Path) -> None:
    options = ExpertOptions(device="thread", spans=1000)
    model = load_model(folder, torch.float32, "reference", options=options)
    _logits(model)
    timeline = model._layers[-1].mlp.device.timeline  # type: ignore[union-attr]
    names = {(s.who, s.what.split()[0]) for s in timeline.spans()}
    assert names == {("compute", "shared"), ("copy", "trip"), ("experts", "layer")}
    model.close()


def test_devices_by_choice() -> None:
    assert isinstance(choose_device("cpu"), Inline)
    thread = choose_device("thread")
    assert isinstance(thread, ThreadDevice)
    thread.close()
    if not torch.accelerator.is_available():
        assert isinstance(choose_device("auto"), Inline), "a second thread would only steal cores"


def test_a_budget_for_less_than_one_expert_is_refused(folder: Path) -> None:
    model = load_model(folder, torch.float32, "native", options=ExpertOptions(ram_bytes=100))
    with pytest.raises(ResourceError) as caught:
        _logits(model)
    assert caught.value.code == "budget_too_small"
    model.close()
