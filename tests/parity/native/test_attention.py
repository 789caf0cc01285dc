"""Attention of the native kernels against softmax in float64.

Scores spread over a few units, as in a model. What remains are sums of float32 in another order,
and exp to 2e-7: 2e-6 of the result's size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.native import _kernels

ISAS = _kernels.available_isas()


@dataclass(frozen=True)
class Heads:
    """Shape of a layer's heads."""

    heads: int
    nope: int
    rope: int
    value: int
    rank: int

    @property
    def scale(self) -> float:
        return float(1.5 / (self.nope + self.rope) ** 0.5)


ODD = Heads(3, 20, 6, 13, 16)
SHAPES = (Heads(1, 8, 4, 8, 16), ODD, Heads(2, 128, 64, 128, 512))


@dataclass(frozen=True)
class Prompt:
    """Queries of the last tokens and everything's expanded keys and values."""

    query: Tensor  # [t, N*(D+P)]
    up: Tensor  # [L, N*(D+Vh)]
    latents: Tensor  # [L, R+P]

    @classmethod
    def random(cls, shape: Heads, past: int, tokens: int) -> Prompt:
        draw = torch.Generator().manual_seed(past + 7 * tokens)

        def rows(count: int, width: int) -> Tensor:
            return torch.randn(count, width, generator=draw)

        total = past + tokens
        return cls(
            rows(tokens, shape.heads * (shape.nope + shape.rope)),
            rows(total, shape.heads * (shape.nope + shape.value)),
            rows(total, shape.rank + shape.rope),
        )


def wanted(shape: Heads, prompt: Prompt) -> Tensor:
    """float64 [t, N*Vh]"""
    total, tokens = len(prompt.up), len(prompt.query)
    query = prompt.query.double().unflatten(-1, (shape.heads, -1))  # [t, N, D+P]
    both = prompt.up.double().unflatten(-1, (shape.heads, -1))  # [L, N, D+Vh]
    rotary = prompt.latents[:, shape.rank :].double()  # [L, P]
    keys = torch.cat(
        (both[..., : shape.nope], rotary[:, None].expand(-1, shape.heads, -1)), -1
    )  # [L, N, D+P]
    scores = torch.einsum("tnd,lnd->ntl", query, keys) * shape.scale
    seen = torch.ones(tokens, total, dtype=torch.bool).tril(total - tokens)
    weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)  # [N, t, L]
    return torch.einsum("ntl,lnv->tnv", weights, both[..., shape.nope :]).flatten(1)


def attend(
    shape: Heads, prompt: Prompt, isa: str = "auto", threads: int = 2, block: int = 1000
) -> Tensor:
    """The kernels' [t, N*Vh], `block` positions at a time."""
    pool = _kernels.Experts(threads, isa)
    past = len(prompt.up) - len(prompt.query)
    prefill = _kernels.Prefill(
        pool,
        prompt.query,
        past,
        heads=shape.heads,
        nope=shape.nope,
        rope=shape.rope,
        value=shape.value,
        rank=shape.rank,
        softmax_scale=shape.scale,
    )
    for begin in range(0, len(prompt.up), block):
        one = slice(begin, begin + block)
        prefill.add(prompt.up[one], prompt.latents[one])
    got = torch.from_numpy(prefill.result())
    pool.close()
    return got


def error(got: Tensor, want: Tensor) -> float:
    return float((got - want).norm() / want.norm())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("isa", ISAS)
def test_prefill_is_softmax_of_all_positions(isa: str, shape: Heads) -> None:
    for past in (0, 1, 64, 129):
        for tokens in (1, 2, 5, 9, 24, 65):
            prompt = Prompt.random(shape, past, tokens)
            assert error(attend(shape, prompt, isa), wanted(shape, prompt)) < 2e-6


@pytest.mark.parametrize("isa", ISAS)
def test_prefill_in_blocks_is_prefill_at_once(isa: str) -> None:
    for past, tokens in ((0, 150), (37, 70), (250, 3)):
        prompt = Prompt.random(ODD, past, tokens)
        whole = attend(ODD, prompt, isa)
        for block in (1, 50, 128, 200):
            assert error(attend(ODD, prompt, isa, block=block), whole.double()) < 1e-6


@pytest.mark.parametrize("threads", [1, 3, 16])
def test_prefill_divides_many_queries(threads: int) -> None:
    """Into chunks, where there are few heads for the threads or more queries than an item takes."""
    prompt = Prompt.random(SHAPES[0], 40, 1300)
    assert error(attend(SHAPES[0], prompt, threads=threads), wanted(SHAPES[0], prompt)) < 2e-6


def test_prefill_with_scores_far_apart() -> None:
    """exp of all but one underflows, whichever block it is in."""
    prompt = Prompt.random(ODD, 200, 40)
    prompt.query.mul_(60)
    got = attend(ODD, prompt, block=64)
    assert error(got, wanted(ODD, prompt)) < 2e-4  # scores of about a hundred: rounded to 1e-5


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_query_that_is_not_finite_stays_visible(isa: str, bad: float) -> None:
    prompt = Prompt.random(ODD, 30, 8)
    prompt.query[3, 30] = bad  # of the second head
    got = attend(ODD, prompt, isa).unflatten(-1, (ODD.heads, -1))  # [t, N, Vh]
    assert got[3, 1].isnan().all()
    got[3, 1] = 0
    assert got.isfinite().all()


def test_prefill_refuses_what_does_not_fit() -> None:
    prompt = Prompt.random(ODD, 10, 4)
    pool = _kernels.Experts(1)

    def new(query: Tensor = prompt.query, past: int = 10, heads: int = 3) -> _kernels.Prefill:
        return _kernels.Prefill(
            pool, query, past, heads=heads, nope=20, rope=6, value=13, rank=16, softmax_scale=1.0
        )

    with pytest.raises(_kernels.InputError, match="shape"):
        new(heads=4)
    with pytest.raises(_kernels.InputError, match="past"):
        new(past=-1)
    with pytest.raises(_kernels.InputError, match="float32"):
        new(prompt.query.double())
    prefill = new()
    with pytest.raises(_kernels.InputError, match="up has shape"):
        prefill.add(prompt.up[:, 1:].contiguous(), prompt.latents)
    with pytest.raises(_kernels.InputError, match="latents has shape"):
        prefill.add(prompt.up, prompt.latents[:5])
    prefill.add(prompt.up[:9], prompt.latents[:9])
    with pytest.raises(_kernels.InputError, match="more positions"):
        prefill.add(prompt.up, prompt.latents)
    with pytest.raises(_kernels.InputError, match="5 positions are missing"):
        prefill.result()
    prefill.add(prompt.up[9:], prompt.latents[9:])
    assert np.isfinite(prefill.result()).all()
    pool.close()
    with pytest.raises(_kernels.ClosedError):
        new().add(prompt.up, prompt.latents)
