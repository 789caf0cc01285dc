"""The figures of attention, on a short context: that they are there and in their units."""

from __future__ import annotations

from engine.bench.attention import attention_figures
from engine.native import _kernels

ISA = _kernels.available_isas()[-1]


def test_every_figure_is_measured() -> None:
    figures = list(
        attention_figures(ISA, 1, seconds=0.0, turn=0.0, depth=1024, ceiling_mebibytes=16)
    )
    units = {f.name: (f.unit, f.against) for f in figures}
    assert units == {
        "attention1024.k2.bf16": ("GFLOP/s", "fma peak"),
        "attention1024.k2.int8": ("GFLOP/s", "fma peak"),
        "attention1024.few.bf16": ("GB/s", "read ceiling"),
        "attention1024.few.int8": ("GB/s", "read ceiling"),
        "attention.linear": ("R²", "limit"),
        "attention.prefill.512": ("GFLOP/s", "fma peak"),
    }
    assert all(f.value > 0 and f.against_value for f in figures)
