"""The kernels against float64, the instruction sets against each other, a token against its batch.

Tolerances (relative error of the whole output, which is a chain of three matrix products):
- exact, float32 sums of a few hundred terms in eight lanes: rounding of 2**-24 a step grows at
  most like the length of a lane's sum; 2e-6 leaves a margin of about ten over what is seen.
- fast, activations of 8 bits with a scale a group: uniform rounding error of absmax/254 against
  values of about absmax/2.2 gives 4e-3 a product; two in a chain and SiLU * up stay below 1.5e-2.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.native import _kernels
from tests.parity.native.layers import Call, RandomLayer, random_call, random_layer, relative_error

TOLERANCE = {"exact": 2e-6, "fast": 1.5e-2}
ISAS = _kernels.available_isas()
FASTEST = [isa for isa in ISAS if isa != "scalar"]


def run(
    layer: RandomLayer, call: Call, *, isa: str = "auto", mode: str = "exact", threads: int = 1
) -> np.ndarray:
    experts = _kernels.Experts(threads, isa, mode)
    experts.add_layer(3, layer.arrays())
    out = experts.wait(experts.submit(3, call.x, call.ids, call.weights))
    experts.close()
    return out


shapes = st.tuples(
    st.integers(1, 6),  # experts
    st.integers(1, 9).map(lambda n: 32 * n),  # hidden, odd numbers of groups too
    st.integers(1, 5).map(lambda n: 32 * n),  # inter
    st.integers(0, 11),  # tokens
    st.integers(0, 5),  # top_k
)


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("isa", ISAS)
@settings(max_examples=25, deadline=None)
@given(shape=shapes, threads=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_any_shape_agrees_with_float64(
    isa: str, mode: str, shape: tuple[int, int, int, int, int], threads: int, seed: int
) -> None:
    count, hidden, inter, tokens, top_k = shape
    rng = np.random.default_rng(seed)
    layer = random_layer(rng, count, hidden, inter)
    call = random_call(rng, count, hidden, tokens, min(top_k, count))
    got = run(layer, call, isa=isa, mode=mode, threads=threads)
    want = layer.forward(call.x.astype(np.float64), call.ids, call.weights)
    assert got.shape == (tokens, hidden)
    assert got.dtype == np.float32
    if call.ids.size == 0:
        assert not got.any()
    else:
        # Outputs that cancel between experts enlarge the relative error of small shapes.
        assert relative_error(got, want) < 3 * TOLERANCE[mode]


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("isa", ISAS)
def test_model_sized_layer_agrees_with_float64(isa: str, mode: str) -> None:
    rng = np.random.default_rng(7)
    layer = random_layer(rng, 4, 2048, 1408)  # Moonlight's expert
    call = random_call(rng, 4, 2048, 5, 3)
    want = layer.forward(call.x.astype(np.float64), call.ids, call.weights)
    error = relative_error(run(layer, call, isa=isa, mode=mode, threads=2), want)
    assert error < TOLERANCE[mode]
    if mode == "fast":  # or the quantised path was not taken at all
        assert error > 1e-4


@pytest.mark.parametrize("isa", FASTEST)
def test_instruction_sets_agree_with_scalar(isa: str) -> None:
    """Same order of sums: only the fused multiply-add's missing rounding is different."""
    rng = np.random.default_rng(11)
    layer = random_layer(rng, 4, 512, 256)
    call = random_call(rng, 4, 512, 6, 3)
    for mode in ("exact", "fast"):
        want = run(layer, call, isa="scalar", mode=mode)
        # In fast mode a last-bit difference may tip a rounding of the inner activations to INT8.
        assert relative_error(run(layer, call, isa=isa, mode=mode), want) < (
            1e-6 if mode == "exact" else 1e-3
        )


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("isa", ISAS)
def test_bits_do_not_depend_on_threads_or_company(isa: str, mode: str) -> None:
    rng = np.random.default_rng(13)
    layer = random_layer(rng, 5, 288, 160)
    call = random_call(rng, 5, 288, 13, 3)
    whole = run(layer, call, isa=isa, mode=mode, threads=1)
    for threads in (2, 3, 4):
        assert np.array_equal(run(layer, call, isa=isa, mode=mode, threads=threads), whole)
    for token in range(13):
        part = slice(token, token + 1)
        alone = Call(call.x[part], call.ids[part], call.weights[part])
        assert np.array_equal(run(layer, alone, isa=isa, mode=mode), whole[part])


def test_bf16_activations_are_widened_exactly() -> None:
    rng = np.random.default_rng(17)
    layer = random_layer(rng, 3, 64, 32)
    call = random_call(rng, 3, 64, 4, 2)
    narrow = torch.from_numpy(call.x).to(torch.bfloat16)
    experts = _kernels.Experts(1)
    experts.add_layer(0, layer.arrays())
    wide = narrow.to(torch.float32)
    got = experts.wait(experts.submit(0, narrow, call.ids, call.weights))
    assert np.array_equal(got, experts.wait(experts.submit(0, wide, call.ids, call.weights)))
    experts.close()


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_input_stays_visible(mode: str, bad: float) -> None:
    rng = np.random.default_rng(19)
    layer = random_layer(rng, 2, 64, 32)
    call = random_call(rng, 2, 64, 3, 2)
    call.x[1, 5] = bad
    got = run(layer, call, mode=mode)
    assert not np.isfinite(got[1]).any()
    assert np.isfinite(got[[0, 2]]).all()
