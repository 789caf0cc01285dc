"""Queries turned where they lie are what turned copies of them are."""

from __future__ import annotations

from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.config import ModelConfig
from engine.making.shapes import read_shape
from engine.model.rope import RotaryTable

CONFIG = ModelConfig.from_dict(read_shape("moonlight-16b-a3b"))
TABLES = {either: RotaryTable(replace(CONFIG, rope_interleaved=either)) for either in (True, False)}


@given(
    interleaved=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    tokens=st.integers(0, 5),
    heads=st.integers(1, 3),
    nope=st.integers(0, 5),
    seed=st.integers(0, 2**31),
)
def test_turned_in_place(
    interleaved: bool, dtype: torch.dtype, tokens: int, heads: int, nope: int, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    q = torch.randn(tokens, heads, nope + 64, generator=draw).to(dtype)  # [T, N, D+P]
    rotary = TABLES[interleaved]
    cos, sin = rotary.at(torch.randint(0, 100_000, (tokens,), generator=draw))
    before = q.clone()
    want = rotary.rotate(q[..., nope:].transpose(0, 1), cos, sin).transpose(0, 1)
    rotary.turn(q[..., nope:], cos, sin)
    assert torch.equal(q[..., :nope], before[..., :nope])
    assert torch.allclose(q[..., nope:], want, rtol=1e-6, atol=1e-6)
