"""Packed INT4 against compressed_tensors, bit for bit."""

from __future__ import annotations

import torch
from compressed_tensors.compressors import pack_to_int32, unpack_from_int32
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.checkpoint.packed_int4 import nibbles, pack, quantise, unpack

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 5).map(lambda n: n * 32))


def _values(shape: tuple[int, int], seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(-8, 8, shape, generator=rng, dtype=torch.int8)


@given(shape=SHAPES, seed=st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_packing_is_theirs(shape: tuple[int, int], seed: int) -> None:
    values = _values(shape, seed)
    theirs = pack_to_int32(values, 4)
    assert torch.equal(pack(values).view(torch.int32), theirs)
    assert torch.equal(nibbles(theirs.view(torch.uint8)), values)
    assert torch.equal(unpack_from_int32(theirs, 4, torch.Size(shape)), values)


@given(shape=SHAPES, seed=st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_unpacked_values_are_nibble_times_scale(shape: tuple[int, int], seed: int) -> None:
    values = _values(shape, seed)
    rng = torch.Generator().manual_seed(seed + 1)
    scale = torch.rand(shape[0], shape[1] // 32, generator=rng).bfloat16()
    want = values.double().unflatten(-1, (-1, 32)) * scale.double().unsqueeze(-1)
    # A 4-bit integer times an 8-bit mantissa fits float32 exactly.
    assert torch.equal(unpack(pack(values), scale).double(), want.flatten(-2))


def test_quantising_errs_by_at_most_half_a_step() -> None:
    weight = torch.randn(16, 96, generator=torch.Generator().manual_seed(0))
    packed, scale = quantise(weight)
    step = scale.float().repeat_interleave(32, -1)
    # Rounding the scale to bf16 (2^-9 relative) moves the outermost of 7 steps a little more.
    assert ((unpack(packed, scale) - weight).abs() <= step * (0.5 + 7 * 2**-8)).all()
