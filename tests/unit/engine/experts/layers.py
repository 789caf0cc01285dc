"""Small mixture layers with random weights of unit gain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from engine.checkpoint.packed_int4 import quantise
from engine.config import ModelConfig
from engine.experts.base import ExpertWeights, PackedMatrix
from engine.experts.reference import ReferenceExperts
from engine.model.layers import SwiGLU
from engine.model.linear import PlainLinear
from engine.model.moe import MixtureOfExperts, Router

EXPERTS, TOP_K, HIDDEN, INNER = 8, 2, 64, 32


def _random(rng: torch.Generator, rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns, generator=rng) / columns**0.5


def expert_layer(seed: int = 1, experts: int = EXPERTS, packed: bool = True) -> list[ExpertWeights]:
    rng = torch.Generator().manual_seed(seed)
    shapes = ((INNER, HIDDEN), (INNER, HIDDEN), (HIDDEN, INNER))

    def matrix(shape: tuple[int, int]) -> PackedMatrix | Tensor:
        weight = _random(rng, *shape)
        return PackedMatrix(*quantise(weight)) if packed else weight

    return [ExpertWeights(*(matrix(s) for s in shapes)) for _ in range(experts)]


def config() -> ModelConfig:
    """The embedded model's, in other sizes."""
    nano = ModelConfig.from_folder(Path(__file__).parents[4] / "resources/models/nano")
    return replace(
        nano,
        hidden_size=HIDDEN,
        n_routed_experts=EXPERTS,
        num_experts_per_tok=TOP_K,
        moe_intermediate_size=INNER,
    )


def mixture(dtype: torch.dtype = torch.float32, seed: int = 5) -> MixtureOfExperts:
    """A layer on reference experts that know no layer yet."""
    rng = torch.Generator().manual_seed(seed)
    router = Router(config(), _random(rng, EXPERTS, HIDDEN), torch.zeros(EXPERTS))
    gate_up, down = _random(rng, 2 * INNER, HIDDEN), _random(rng, HIDDEN, INNER)
    return MixtureOfExperts(
        router,
        SwiGLU(*map(PlainLinear, (*gate_up.to(dtype).chunk(2), down.to(dtype)))),
        ReferenceExperts(),
    )


def tokens(count: int, dtype: torch.dtype = torch.float32, seed: int = 7) -> Tensor:
    return torch.randn(count, HIDDEN, generator=torch.Generator().manual_seed(seed)).to(dtype)


def routing(count: int, seed: int = 9, experts: int = EXPERTS) -> tuple[Tensor, Tensor]:
    """Ids int32 [T, K], distinct within a token, and weights [T, K]."""
    rng = torch.Generator().manual_seed(seed)
    ids = torch.rand(count, experts, generator=rng).topk(TOP_K, -1).indices.to(torch.int32)
    return ids, torch.rand(count, TOP_K, generator=rng) + 0.1
