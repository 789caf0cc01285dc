"""Deferral: the lightest experts join one layer later, all of them arrive, nothing leaks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.experts.deferral import DeferringExperts, drift
from engine.experts.reference import ReferenceExperts

from .layers import EXPERTS, HIDDEN, TOP_K, expert_layer, routing, tokens

LAYERS = 3


def _pair(deferred: int) -> tuple[DeferringExperts, ReferenceExperts]:
    plain, inner = ReferenceExperts(), ReferenceExperts()
    deferring = DeferringExperts(inner, deferred)
    for layer in range(LAYERS):
        plain.add_layer(layer, expert_layer(seed=layer))
        deferring.add_layer(layer, expert_layer(seed=layer))
    return deferring, plain


def _run(backend: DeferringExperts | ReferenceExperts, layer: int, x: Tensor) -> Tensor:
    return backend.wait(backend.submit(layer, x, *routing(len(x), seed=layer)))


@pytest.mark.parametrize("deferred", [0, TOP_K, TOP_K + 1])
def test_none_or_all_deferred_changes_nothing(deferred: int) -> None:
    """A layer that would be left with no expert at all defers none."""
    deferring, plain = _pair(deferred)
    for layer in range(LAYERS):
        assert torch.equal(_run(deferring, layer, tokens(4)), _run(plain, layer, tokens(4)))


def test_the_lightest_join_one_layer_later() -> None:
    deferring, plain = _pair(1)
    got = torch.stack([_run(deferring, layer, tokens(4)) for layer in range(LAYERS)])
    want = torch.stack([_run(plain, layer, tokens(4)) for layer in range(LAYERS)])
    # On the same inputs nothing is lost, only late; sums in another order.
    torch.testing.assert_close(got.sum(0), want.sum(0), atol=1e-5, rtol=0)
    assert (got[0] - want[0]).abs().max() > 1e-2
    ids, weights = routing(4, seed=0)
    heavy = weights.argmax(-1, keepdim=True)
    first = plain.wait(plain.submit(0, tokens(4), ids.gather(-1, heavy), weights.gather(-1, heavy)))
    torch.testing.assert_close(got[0], first, atol=1e-6, rtol=0)


def test_nothing_of_a_pass_that_was_cut_off_joins_the_next() -> None:
    deferring, _ = _pair(1)
    fresh, _ = _pair(1)
    _run(deferring, 0, tokens(2, seed=1))
    _run(deferring, 1, tokens(2, seed=1))
    for layer in range(LAYERS):
        x = tokens(5, seed=layer)
        assert torch.equal(_run(deferring, layer, x), _run(fresh, layer, x))


def test_drift_is_zero_for_equal_and_grows_with_the_difference() -> None:
    logits = torch.randn(50, 20, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(50, 20, generator=torch.Generator().manual_seed(2))
    none, little, much = (drift(1, logits, logits + s * noise) for s in (0.0, 0.1, 2.0))
    assert (none.divergence, none.agreement) == (0.0, 1.0)
    assert 0 < little.divergence < 0.05 < much.divergence
    assert much.agreement < little.agreement <= 1.0
    assert EXPERTS > TOP_K and HIDDEN > 0
