"""The layer's benchmark on a layer of a few kilobytes: form and consistency, never speed."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

from engine.bench.figures import Figure
from engine.bench.kernels import kernel_figures
from engine.bench.layer import layer_figures
from engine.bench.options import Options, Peers
from engine.bench.shapes import K2_LAYER, LayerShape, Routing, fitting, random_experts
from engine.errors import ResourceError
from engine.experts.reference import swiglu
from engine.native import _kernels
from engine.verifying.accuracy import relative_error, wide_output

SMALL = LayerShape(64, 32, 2)
ISA = _kernels.available_isas()[-1]


def options(peer: Path | None = None) -> Options:
    return Options(
        threads=(1, 2),
        isas=(ISA,),
        shape=SMALL,
        experts=4,
        seconds=0.0,
        turn=0.0,
        ceiling_mebibytes=4,
        prompt=8,
        peers=Peers(kt_kernel=peer),
    )


@pytest.fixture(scope="module")
def figures() -> list[Figure]:
    # A Python without kt-kernel: the peer's absence must be told, not fail the run.
    return list(layer_figures(options(Path(sys.executable))))


def test_the_sizes_are_those_of_k2() -> None:
    assert K2_LAYER.expert_bytes == pytest.approx(24.77e6, rel=1e-3)
    assert K2_LAYER.token_operations == pytest.approx(704.6e6, rel=1e-3)


def test_every_named_figure_is_there_for_each_thread_count(figures: list[Figure]) -> None:
    for threads in (1, 2):
        names = {f.name for f in figures if f.threads == threads and f.against != "kt-kernel"}
        assert names >= {"layer.decode", "layer.decode4", "layer.prefill512"}
    assert {"layer.error.fast", "layer.error.exact", "layer.batch4"} <= {f.name for f in figures}


def test_figures_are_finite_and_consistent(figures: list[Figure]) -> None:
    for f in figures:
        assert math.isfinite(f.value) and f.value >= 0
        assert f.isa == ISA
        assert f.best is None or f.unit == "x" or f.best >= f.value
        if f.against_value is not None:
            assert f.ratio == pytest.approx(f.value / f.against_value)


def test_an_absent_peer_is_told(figures: list[Figure]) -> None:
    absent = [f for f in figures if f.against == "kt-kernel"]
    assert {f.name for f in absent} == {"layer.decode", "layer.prefill512"}
    assert all(f.ratio is None and "not installed here" in f.note for f in absent)


def test_every_format_is_measured_by_itself() -> None:
    found = list(kernel_figures(options()))
    assert {f.name for f in found} == {
        f"kernels.{form}.{what}"
        for form in ("int4", "int8", "bf16", "fp8")
        for what in ("gemv", "gemm")
    }
    for f in found:
        assert f.value > 0 and f.ratio == pytest.approx(f.value / (f.against_value or 0))
        assert f.against == ("read ceiling" if f.name.endswith("gemv") else "int8 peak")


def test_random_experts_keep_the_size_of_their_input() -> None:
    (expert,) = random_experts(LayerShape(512, 256, 1), 1)
    out = swiglu(torch.randn(16, 512, generator=torch.Generator().manual_seed(0)), expert)
    assert 0.05 < out.std() < 1


def test_routing_is_without_repeats_and_coincides_when_asked() -> None:
    x, ids, weights = Routing(SMALL, 4, 3).next()
    assert x.shape == (3, 64) and ids.dtype == torch.int32 and weights.shape == (3, 2)
    assert all(len(set(row)) == 2 for row in ids.tolist())
    together = Routing(SMALL, 4, 3, coincide=True)
    first, second = together.next()[1], together.next()[1]
    assert (first == first[0]).all() and (second == second[0]).all()


def test_too_little_memory_is_said() -> None:
    with pytest.raises(ResourceError, match="do not fit"):
        fitting(LayerShape(1 << 20, 1 << 20, 8), 88)


def test_the_error_measure_sees_small_and_infinite_differences() -> None:
    (expert,) = random_experts(SMALL, 1)
    x = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    right = wide_output(x, expert)
    assert right.dtype == torch.float64
    assert relative_error(swiglu(x, expert), right) < 1e-5
    assert relative_error(right * 1.01, right) == pytest.approx(0.01)
    assert relative_error(right * math.nan, right) == math.inf
