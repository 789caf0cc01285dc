"""Every constant of the planner's model of time and memory, in one table.

"Measured" figures come from ``selenograph bench`` and change with the code; recalibrate there.
"Estimated" ones have not been measured by us.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MIB, GIB = 1 << 20, 1 << 30


def _float_shares() -> Mapping[str, float]:
    # Multiply-adds a cycle on floats against those of INT8 dot products. AMX's tiles serve INT8
    # only, floats take AVX-512 beside them. AVX-512 VNNI is measured (178 of 732 GOP/s), the others
    # are from the published throughput of the instructions.
    return {
        "scalar": 0.5,
        "avx2": 0.5,
        "avx_vnni": 0.25,
        "avx512": 0.5,
        "avx512_vnni": 0.24,
        "avx512_bf16": 0.24,
        "amx": 0.03,
        "amx_int8": 0.03,
        "neon": 0.25,
    }


def _gemm_peaks() -> Mapping[str, float]:
    # VNNI's peak is that of one instruction for four products; ours need one and a half and more.
    # On AVX-512 that is measured, over one layer of K2's shape; the other is counted.
    return {"avx512_vnni": 0.36, "avx512_bf16": 0.36, "avx_vnni": 0.5}


@dataclass(frozen=True, slots=True)
class Costs:
    """Shares are of the machine's own measured ceilings, 0 to 1."""

    # -- the processor
    expert_read: float = 0.88
    """Of the streaming read, when one token's experts are computed. Measured: 0.83 to 0.92 over
    one layer of K2's shape on AVX2."""
    dense_read: float = 0.88
    """The same for attention, shared experts and head. Measured: a whole model of Moonlight's shape
    decodes at 0.91 of it, all parts together."""
    gemv_peak: float = 0.36
    """Of the dot-product peak on few rows, where memory would be faster. Estimated."""
    gemm_peak: Mapping[str, float] = field(default_factory=_gemm_peaks)
    """Of it on many rows, by instruction set."""
    other_gemm_peak: float = 0.68
    """For an instruction set that is not in the table. Measured: 0.63 to 0.78 over one layer of
    K2's shape on AVX2 and 0.72 on AVX-512, 0.62 over a whole model of Moonlight's on AVX2 with
    everything around the kernels."""
    tile_peak: float = 0.15
    """The same with AMX: its tiles span two groups of 32, whose scales have to be applied
    outside. Estimated."""
    gemm_half_rows: float = 3.0
    """Rows of a matrix product that reach half of that. Estimated."""
    float_share: Mapping[str, float] = field(default_factory=_float_shares)
    """Float operations a second over INT8 ones, by instruction set."""
    other_float_share: float = 0.25
    """For an instruction set that is not in the table."""
    float_peak: float = 0.58
    """Of the float rate, in matrix products of float activations, which widen weights anew for
    every eight tokens. Measured on AVX2: 0.55 to 0.61 in INT8 and BF16, 0.49 in INT4."""
    attention_peak: float = 0.50
    """Of the float rate, in attention's scores and sums. Measured: 0.30 to 0.68."""
    layer_s: float = 25e-6
    """A layer of a step without an accelerator, however narrow: waking workers, routing, small
    operations. Measured, as what a token of the embedded model (0.6 ms) and one of Moonlight's
    shape (0.037 of 60 ms) take beyond all else, on two Zen 5 cores."""
    layer_value_s: float = 21e-9
    """The same for each value of the hidden width: norms, sums. Measured there, too."""
    value_s: float = 4e-9
    """A layer of a prompt's token without an accelerator, for each value of the hidden width:
    norms, sums, copies. Measured: 16 us a token of Moonlight's shape on two Zen 5 cores, of which
    `token_s` is half."""
    token_s: float = 8e-6
    """The same for each token of a prompt, however narrow: ends of rows, pages, choices of experts.
    Measured: what 512 tokens of the embedded model take beyond all else, on AVX2 and AVX-512."""
    step_s: float = 300e-6
    """A step: scheduling, sampling, parsing, sending. Measured there, too."""
    loop_us: float = 41.0
    """The interpreter's speed where that was measured, as :attr:`Hardware.loop_us`: steps and
    layers take longer in proportion where it is slower."""
    chunk_tokens: int = 512
    """Of a prompt, computed together; every chunk reads the weights again."""

    # -- the accelerator
    device_read: float = 0.70
    """Of its memory's bandwidth, on one token. Estimated."""
    device_peak: float = 0.50
    """Of its bf16 rate, on prompts. Estimated."""
    widened_bytes: Mapping[str, float] = field(
        default_factory=lambda: {"int4": 12.0, "int8": 8.0, "fp8": 8.0}
    )
    """Bytes that its memory moves per weight of an expert that is widened to bf16 before use, by
    operations of their own. Estimated; a kernel that widens in registers would need the stored
    bytes only."""
    device_layer_s: float = 60e-6
    """A layer of a step: launches, activations to the processor and back. Estimated."""
    bus_read: float = 0.85
    """Of the bus, when experts stream over it. Estimated."""
    stream_chunk_tokens: int = 8192
    """Of a prompt, that share one streaming of all experts."""

    # -- the disk
    disk_read: float = 0.60
    """Of the sequential rate, for missing experts. On a disk of 3.5 GB/s 0.95 came with a memory
    budget, read directly, and 0.2 without one, where the map is touched (docs/tiers.md)."""
    convert_rate: float = 4e9
    """BF16 bytes a second that are rounded to INT8 or INT4 while loading. Estimated."""
    tensor_s: float = 12e-6
    """To find, check and map one tensor at load. Estimated."""

    # -- which experts are chosen: the hottest share f takes f**skew of the choices; 1 is uniform
    hot_skew: float = 0.92
    """Of a fixed set on the accelerator. Public evidence conflicts; this is what a static top-32 of
    384 covered on text it was not chosen by (10 %)."""
    cached_skew: float = 0.75
    """Of what stayed in the page cache, which follows the text. An LRU of 64 of 384 was seen to hit
    67 %, which would be 0.22; this is far more careful."""

    # -- memory that is neither weights nor cache
    program_bytes: int = 900 * MIB
    """Interpreter, torch, tokenizer, activations. Measured with the embedded model: about 700."""
    spare_share: float = 0.03
    """Of memory, left to the system's changing moods."""
    device_program_bytes: int = 1536 * MIB
    """On the accelerator: context, library workspaces, activations. Estimated."""
    device_spare_share: float = 0.04
    """Of its memory, lost to fragmentation and the display."""
    stream_buffer_bytes: int = 512 * MIB
    """Each of two on the accelerator and two pinned in memory, for streaming experts."""


MEASURED = Costs()
